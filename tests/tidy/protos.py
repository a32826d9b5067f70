"""The messages of proto/weir/v1, read from their text: enough of the grammar for the checks."""
import re
from dataclasses import dataclass, field

FIELD = re.compile(
    r"^\s*(?:(?:repeated|optional)\s+)?(?P<type>map\s*<[^>]+>|[\w.]+)\s+(?P<name>\w+)\s*=\s*\d+\s*"
    r"(?P<options>\[[^\]]*\])?\s*$", re.S)
NOT_TYPES = {"option", "reserved", "extensions", "package", "import", "syntax", "return"}


@dataclass
class Field:
    path: str
    line: int
    message: str
    name: str
    type: str
    options: str


@dataclass
class Message:
    path: str
    line: int
    name: str  # with its outer messages: Inspection.Span
    fields: list = field(default_factory=list)


def read(tree):
    """{name: Message} over all files; two messages of one name are one package's error, not ours."""
    messages = {}
    for path in tree.having(".proto", under="proto/"):
        text = re.sub(r"//[^\n]*", "", tree.text(path))
        stack, since, line = [], 0, 1
        for i, c in enumerate(text):
            line += c == "\n"
            if c == "{":
                head = text[since:i].split()
                stack.append((head[0], head[1]) if len(head) >= 2 else ("", ""))
                if stack[-1][0] == "message":
                    name = ".".join(n for kind, n in stack if kind == "message")
                    messages[name] = Message(path, line, name)
                since = i + 1
            elif c == "}":
                if stack:
                    stack.pop()
                since = i + 1
            elif c == ";":
                outer = ".".join(n for kind, n in stack if kind == "message")
                kind = stack[-1][0] if stack else ""
                match = FIELD.match(text[since:i]) if kind in ("message", "oneof") else None
                if match and match["type"] not in NOT_TYPES:
                    messages[outer].fields.append(Field(path, line, outer, match["name"],
                                                        match["type"], match["options"] or ""))
                since = i + 1
    return messages


def types_of(fld):
    """Message or scalar types that a field holds; a map's key and value."""
    if fld.type.startswith("map"):
        return [t.strip() for t in fld.type[fld.type.index("<") + 1:-1].split(",")]
    return [fld.type]


def resolve(messages, fld, name):
    """The message that `name` means inside fld.message, or None for scalars and foreign types."""
    outer = fld.message.split(".")
    for depth in range(len(outer), -1, -1):
        found = messages.get(".".join(outer[:depth] + [name]))
        if found:
            return found
    return None
