"""The first line of each file says what it is."""
from tree import finding

SLASHES = (".h", ".cpp", ".c", ".proto")
HASHES = (".sh", ".cmake", "CMakeLists.txt", "Makefile", ".yaml", ".yml", "packages.txt")


def says_what(path, lines):
    first = lines[0].strip() if lines else ""
    if path.endswith(SLASHES):
        words = first[2:].strip(" */") if first.startswith(("//", "/*")) else ""
    elif path.endswith(".py") or first.startswith("#!"):
        rest = lines[1].strip() if first.startswith("#!") and len(lines) > 1 else first
        words = rest.strip("#\"' ") if rest.startswith(("#", '"""', "'''", 'r"""')) else ""
    elif path.endswith(HASHES):
        words = first.strip("# ") if first.startswith("#") else ""
    else:
        return True  # documents, data: their name and first heading say it
    return len(words.split()) >= 2


def check(tree):
    """A comment of at least two words."""
    found = []
    for path in tree.files:
        if (tree.root / path).stat().st_size > 1 << 20:
            continue
        lines = tree.text(path).split("\n", 3)
        judged = path.endswith(SLASHES + HASHES + (".py",)) or lines[0].startswith("#!")
        if judged and not says_what(path, lines):
            found.append(finding(path, 1, "the first line does not say what this file is"))
    return found
