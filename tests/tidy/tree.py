"""The tree that the checks read: its files and their text, and C++ without comments and strings."""
import pathlib
import re

# Not ours to judge: made by tools, foreign on purpose, or bad on purpose (tests/tidy/bad).
SKIPPED = ("build", ".git", "tests/tidy/bad", "tests/fuzz/corpus", "__pycache__")
CPP = (".h", ".cpp", ".c")


class Tree:
    """All files below a root, by their path relative to it."""

    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.files = sorted(self._walk(self.root))

    def _walk(self, folder):
        for entry in folder.iterdir():
            path = entry.relative_to(self.root).as_posix()
            if path in SKIPPED or entry.name == "__pycache__" or entry.is_symlink():
                continue
            if entry.is_dir():
                yield from self._walk(entry)
            else:
                yield path

    def having(self, *endings, under=""):
        return [f for f in self.files if f.endswith(endings) and f.startswith(under)]

    def exists(self, path):
        return path in self.files

    def text(self, path):
        return (self.root / path).read_text(encoding="utf-8", errors="replace")


def finding(path, line, sentence):
    return f"{path}:{line}: {sentence}"


TOKEN = re.compile(
    r'R"(?P<d>[^()\\ ]{0,16})\(.*?\)(?P=d)"'  # raw string
    r'|"(?:\\.|[^"\\\n])*"'
    r"|(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])+'"   # a character, no digit separator
    r"|//[^\n]*"
    r"|/\*.*?\*/", re.S)


def code_only(text, keep_strings=False):
    """The same number of lines, with comments blank and strings empty."""

    def blank(match):
        found = match.group(0)
        lines = "\n" * found.count("\n")
        if found.startswith(("//", "/*")):
            return " " + lines
        return found if keep_strings else '""' + lines

    return TOKEN.sub(blank, text)


INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)', re.M)


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def includes(text):
    """(line, path, is it in quotes) of each #include."""
    code = code_only(text, keep_strings=True)
    for match in INCLUDE.finditer(code):
        yield line_of(code, match.end()), match.group(1) or match.group(2), bool(match.group(1))
