"""Functions fit a screen, files stay readable, lines end somewhere."""
import re

from tree import code_only, finding, line_of

FUNCTION_LINES = 70  # with code between the braces; lines of nothing but text or comment are free
FILE_LINES = 500
COLUMNS = 120        # of C++; clang-format wraps code at 100, a comment may run over a little

SCOPE = re.compile(r"\b(namespace|class|struct|union|enum)\b[^()]*$|\bextern\s*\"\"\s*$")

RAW = re.compile(r'R"(\w*)\(.*?\)\1"', re.S)  # raw strings are text of their own


def keep_lines(match):
    return '""' + "\n" * match.group(0).count("\n")


def functions(text):
    """(first line, lines with code) of each function body at namespace or class level."""
    stack, since = [], 0  # stack of (is scope, line of the brace or None)
    code = re.sub(r"(?m)^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", lambda m: "\n" * m.group(0).count("\n"), code_only(text))
    for i, c in enumerate(code):
        if c == "{":
            head = code[since:i]
            inside_function = any(not scope for scope, _ in stack)
            scope = not inside_function and bool(SCOPE.search(head))
            body = not inside_function and not scope and "(" in head
            stack.append((scope, line_of(code, i) if body else None))
            since = i + 1
        elif c == "}" and stack:
            _, first = stack.pop()
            if first is not None:
                body = code.split("\n")[first - 1:line_of(code, i)]
                yield first, sum(1 for line in body if re.search(r"[\w{}]", line.replace('{""', "")))
            since = i + 1
        elif c == ";" :
            since = i + 1


def check(tree):
    """Functions of at most 70 lines, files of at most 500, C++ of at most 120 columns."""
    found = []
    for path in tree.having(".h", ".cpp", ".c", ".py", ".sh", ".proto", ".cmake", "CMakeLists.txt"):
        text = tree.text(path)
        lines = text.splitlines()
        limit = FILE_LINES
        if len(lines) > limit:
            found.append(finding(path, limit + 1, f"the file has {len(lines)} lines; the limit is {limit}"))
        if not path.endswith((".h", ".cpp", ".c")):
            continue
        for number, line in enumerate(RAW.sub(keep_lines, text).splitlines(), 1):
            if len(line) > COLUMNS and not generated(lines):
                found.append(finding(path, number, f"the line has {len(line)} columns; the limit is {COLUMNS}"))
        for first, size in functions(text):
            if size > FUNCTION_LINES:
                found.append(finding(path, first, f"the function has {size} lines; the limit is {FUNCTION_LINES}"))
    return found


def generated(lines):
    """A table that a script writes says so in its first line."""
    return bool(lines) and "generated" in lines[0].lower()
