#!/usr/bin/env python3
"""hardened.py PROGRAM…: each shipped program is position independent, has full RELRO, no executable stack, stack
protectors and checked copies. Read from the ELF file, as a reviewer would. Exit 77: skipped."""
import os
import re
import subprocess
import sys


def readelf(option, path):
    return subprocess.run(["readelf", "-W", option, path], capture_output=True, text=True, check=True).stdout


def faults(path):
    header, segments, dynamic = readelf("-h", path), readelf("-l", path), readelf("-d", path)
    symbols = readelf("-s", path)
    stack = re.search(r"GNU_STACK\s.*", segments)
    if not re.search(r"Type:\s+DYN", header):
        yield "not position independent"
    if "GNU_RELRO" not in segments:
        yield "no RELRO"
    if "BIND_NOW" not in dynamic and not re.search(r"FLAGS_1.*\bNOW\b", dynamic):
        yield "RELRO is partial: symbols are bound late"
    if not stack or "E" in stack[0].split()[6]:
        yield "the stack is executable"
    if re.search(r"LOAD\s.*RWE", segments):
        yield "memory that is writable and executable"
    if "TEXTREL" in dynamic:
        yield "the code is relocated at its start"
    if "__stack_chk_fail" not in symbols:
        yield "no stack protectors"
    if not re.search(r"__(mem|str|s|vs|f|read|recv|fd)\w*_chk\b", symbols):
        yield "no checked copies (FORTIFY)"


def main():
    missing = [p for p in sys.argv[1:] if not os.path.exists(p)]
    if missing:
        print(f"skipped: no release build: {missing[0]} is not there (make build)")
        return 77
    bad = 0
    for path in sys.argv[1:]:
        found = list(faults(path))
        bad += bool(found)
        print(f"{os.path.basename(path)}: {'; '.join(found) or 'hardened'}")
    return 1 if bad else 0


sys.exit(main())
