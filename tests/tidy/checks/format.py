"""Every C and C++ file as clang-format-14 and .clang-format lay it out."""
import re
import subprocess

from tree import CPP, finding

SAID = re.compile(r"^(.*?):(\d+):\d+: error: code should be clang-formatted")
STYLE = "--style=file"
FILES_A_CALL = 100  # keeps the command line short


def check(tree):
    """The first line of each file that is laid out differently."""
    files = tree.having(*CPP)
    first = {}
    for at in range(0, len(files), FILES_A_CALL):
        ran = subprocess.run(["clang-format-14", "--dry-run", "--Werror", STYLE, *files[at:at + FILES_A_CALL]],
                             cwd=tree.root, capture_output=True, text=True, check=False)
        for line in ran.stderr.splitlines():
            said = SAID.match(line)
            if said:
                first.setdefault(said.group(1), int(said.group(2)))
    return [finding(path, line, "not laid out by .clang-format: run clang-format-14 -i on it")
            for path, line in sorted(first.items())]
