"""Nothing in the tree knows the machine, the people or the registry that it was written on."""
import re

from tree import finding

# Put together from pieces, so that this file does not find itself.
MACHINE = re.compile("|".join([
    "/ho" + r"me/(?!alice|bob|user|desk)[a-z]", "/Us" + r"ers/", "/ro" + r"ot/\w",
    "C:" + r"\\\\Users", r"registry\." + "npmjs",
]))
TEXT = (".h", ".cpp", ".c", ".py", ".sh", ".proto", ".cmake", ".txt", ".md", ".json", ".yaml", ".yml", "Makefile", ".ci/run",
        "/run", "/install")


def check(tree):
    """Paths of a developer's machine, registry hosts."""
    found = []
    for path in tree.files:
        if not path.endswith(TEXT) or (tree.root / path).stat().st_size > 1 << 20:
            continue
        for number, line in enumerate(tree.text(path).splitlines(), 1):
            match = MACHINE.search(line)
            if match:
                found.append(finding(path, number, f'"{match.group(0)}" belongs to one machine'))
    return found
