#!/usr/bin/env python3
"""tests/tidy/run.py CHECK [ROOT]: what CHECK finds in the tree, one line each; exit 1 if there is any.
tests/tidy/run.py --self-test CHECK: CHECK must find in tests/tidy/bad/CHECK what `expected` lists there,
and nothing else: a check that finds nothing any more would go unnoticed."""
import importlib
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "checks")]
sys.dont_write_bytecode = True

from tree import Tree  # noqa: E402  (after the path is set)


def run(name, root):
    return importlib.import_module(name).check(Tree(root))


def self_test(name):
    sample = HERE / "bad" / name
    wanted = [line for line in (sample / "expected").read_text().splitlines() if line]
    found = run(name, sample)
    # `expected` holds beginnings: path, line, and as much of the sentence as matters.
    missing = [w for w in wanted if not any(f.startswith(w) for f in found)]
    extra = [f for f in found if not any(f.startswith(w) for w in wanted)]
    for line in missing:
        print(f"not found: {line}")
    for line in extra:
        print(f"found, but not bad: {line}")
    return 1 if missing or extra or not wanted else 0


def main(arguments):
    if len(arguments) == 2 and arguments[0] == "--self-test":
        return self_test(arguments[1])
    if len(arguments) not in (1, 2):
        print(__doc__, file=sys.stderr)
        return 2
    found = run(arguments[0], arguments[1] if len(arguments) == 2 else HERE.parents[1])
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
