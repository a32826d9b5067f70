"""The lines of docs/limits.md that say PREVENT and that make evasion does not try itself: others.py LIMITS BUILD runs the
tests that they name, where BUILD has them, and prints the numbers of each that sent the most. A guest of another kernel
takes too long for it: make kernels. Exit 1 where a test fails, or printed more received than charged, or charged than
the limit."""
import os
import re
import subprocess
import sys
import time

import scoreboard

PATIENCE_S = 300  # for the tests of one name; they have limits of their own
NAME = re.compile(r"\b(?:agent|collector|core|e2e|kernel|lab|proto)\.\w[\w./]*\w")
NUMBERS = re.compile(r"limit (\d+) charged (\d+) received (\d+)")
GUEST = "kernel.qemu_"
PROGRAMS = ("weir", "weir-guard", "weir-engine")  # what the tests in bash take for granted


def lines_of_others(told):
    """(id, names of tests) of each line; "the same" has those of the line before."""
    names = []
    for i, (state, test) in told.items():
        if "make evasion" not in test:
            names = NAME.findall(test) or names
            if state == "PREVENT":
                yield i, names


def numbers_of(output):
    return [tuple(map(int, found)) for found in NUMBERS.findall(output)]


def verdict(status, output):
    """(passed, failed …, what of it is to be told)."""
    if "No tests were found" in output or "***Not Run" in output:
        return "not built", ""
    for limit, charged, received in numbers_of(output):
        if not received <= charged <= limit:
            return "failed", f"limit {limit:,} charged {charged:,} received {received:,}"
    if status != 0:
        return "failed", ", ".join(re.findall(r"^\s*\d+ - (\S+) \((?!Skipped)", output, re.M))
    passed = len(re.findall(r"^ *\d+/\d+ Test .* Passed ", output, re.M))
    return ("passed", f"{passed} tests") if passed else ("skipped", "this machine lacks what they need")


def run(name, build):
    if name.startswith("lab.") and not all(os.access(f"{build}/bin/{program}", os.X_OK) for program in PROGRAMS):
        return "not built", "", []
    command = ["ctest", "--test-dir", build, "-R", "^" + re.escape(name), "-V", "--no-tests=error"]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE_S, text=True, errors="replace", check=False)
    except subprocess.TimeoutExpired:
        return "failed", f"not over within {PATIENCE_S} s", []
    return *verdict(done.returncode, done.stdout), numbers_of(done.stdout)


def main():
    limits, build = sys.argv[1:3]
    if not os.path.exists(f"{build}/CTestTestfile.cmake"):
        build = None
    known, failed = {}, False
    print(f"\nshown by other tests ({build or 'none is built: make dev'})")
    print(f"{'':6} {'':9} {'':19} {'limit':>13} {'account':>15} {'receiver':>9}")
    for i, names in lines_of_others(scoreboard.page(limits)):
        for name in names:
            if name.startswith(GUEST):
                result, more, numbers = "make kernels", "", []
            elif not build:
                result, more, numbers = "not built", "", []
            else:
                if name not in known:
                    begun = time.monotonic()
                    result, more, numbers = run(name, build)
                    known[name] = result, more + (f", {time.monotonic() - begun:.0f} s" if result == "passed" else ""), numbers
                result, more, numbers = known[name]
            failed |= result == "failed"
            limit, charged, received = (f"{n:,}" for n in max(numbers, key=lambda n: n[2] / n[0])) if numbers else ("", "", "")
            print(f"{i:6} {'PREVENT':9} {result:19} {limit:>13} {charged:>15} {received:>9}  {name}{'  ' + more if more else ''}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
