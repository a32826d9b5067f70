"""Explicit lists are complete: what is written but not listed is linked, run or tested by nobody."""
import re

from tree import code_only, finding, line_of


def detectors(tree):
    """Each class that is a Detector is made in core/detect/detectors.cpp."""
    listed = code_only(tree.text("core/detect/detectors.cpp")) if tree.exists("core/detect/detectors.cpp") else ""
    for path in tree.having(".h", ".cpp", under="core/detect/"):
        code = code_only(tree.text(path))
        for match in re.finditer(r"\bclass\s+(\w+)\s+(?:final\s*)?:\s*public\s+Detector\b", code):
            name = match.group(1)
            snake = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
            if not re.search(rf"\b(make_{snake}|make_unique<{name}>)\s*\(", listed):
                yield finding(path, line_of(code, match.start()),
                              f"the detector {name} has no line in core/detect/detectors.cpp")


def commands(tree):
    """Each cmd_… of agent/cli/commands.h stands once in kCommands and has a body."""
    if not tree.exists("agent/cli/commands.h"):
        return
    header = code_only(tree.text("agent/cli/commands.h"))
    main = code_only(tree.text("agent/cli/main.cpp")) if tree.exists("agent/cli/main.cpp") else ""
    table = re.search(r"kCommands\[\]\s*=\s*\{(.*?)\n\};", main, re.S)
    for match in re.finditer(r"\bint\s+(cmd_\w+)\s*\(", header):
        if not table or not re.search(rf"\b{match.group(1)}\b", table.group(1)):
            yield finding("agent/cli/commands.h", line_of(header, match.start()),
                          f"{match.group(1)} has no line in kCommands of agent/cli/main.cpp")


def fuzz_targets(tree):
    """Each NAME_fuzz.cpp has a weir_fuzz line and seeds; each line has its file."""
    path = "tests/fuzz/CMakeLists.txt"
    text = tree.text(path) if tree.exists(path) else ""
    listed = set(re.findall(r"^weir_fuzz\((\w+)", text, re.M))
    written = {f.rsplit("/", 1)[1][:-len("_fuzz.cpp")] for f in tree.having("_fuzz.cpp", under="tests/fuzz/")}
    for name in sorted(written - listed):
        yield finding(f"tests/fuzz/{name}_fuzz.cpp", 1, f"has no weir_fuzz line in {path}")
    for name in sorted(listed - written):
        yield finding(path, 1, f"weir_fuzz({name}) has no tests/fuzz/{name}_fuzz.cpp")
    for name in sorted(written & listed - {"must_fail"}):
        corpus = tree.root / "tests/fuzz/corpus" / name
        if not corpus.is_dir() or not any(corpus.iterdir()):
            yield finding(f"tests/fuzz/{name}_fuzz.cpp", 1, f"has no seeds in tests/fuzz/corpus/{name}")


def test_folders(tree):
    """Each folder with a …_test.cpp is built by a weir_tests line."""
    cmake = "\n".join(tree.text(f) for f in tree.having("CMakeLists.txt", under="tests/"))
    listed = set(re.findall(r"^\s*weir_tests\(([\w/]+)", cmake, re.M))
    folders = {f.rsplit("/", 1)[0][len("tests/"):]: f for f in tree.having("_test.cpp", under="tests/")}
    for folder, example in sorted(folders.items()):
        if folder not in listed:
            yield finding(example, 1, f"no CMakeLists.txt below tests/ has weir_tests({folder} …)")


def tidy_checks(tree):
    """Each check of this folder is run, and has a sample that it must find."""
    for path in tree.having(".py", under="tests/tidy/checks/"):
        name = path.rsplit("/", 1)[1][:-3]
        cmake = tree.text("tests/tidy/CMakeLists.txt") if tree.exists("tests/tidy/CMakeLists.txt") else ""
        if not re.search(rf"\b{name}\b", cmake):
            yield finding(path, 1, "is not in the list of tests/tidy/CMakeLists.txt")
        if not (tree.root / "tests/tidy/bad" / name / "expected").is_file():
            yield finding(path, 1, f"has no bad sample in tests/tidy/bad/{name}")


def clang_tidy_reasons(tree):
    """Each check that .clang-tidy switches off has its reason in a comment there, and no other has one."""
    if not tree.exists(".clang-tidy"):
        return
    text = tree.text(".clang-tidy")
    off = set(re.findall(r"(?m)^\s+-([a-z][\w.-]+)", text))
    reasons = {m[1]: m for m in re.finditer(r"(?m)^# -([a-z][\w.-]+): \S+ \S+", text)}
    for name in sorted(off - set(reasons)):
        yield finding(".clang-tidy", 1, f"{name} is off without a reason")
    for name in sorted(set(reasons) - off):
        yield finding(".clang-tidy", line_of(text, reasons[name].start()), f"a reason for {name}, which is on")


def check(tree):
    """Detectors, commands, fuzz targets, test folders, these checks themselves."""
    found = []
    for part in (detectors, commands, fuzz_targets, test_folders, tidy_checks, clang_tidy_reasons):
        found += part(tree)
    return found
