#!/usr/bin/env python3
"""old_libc.py MAJOR.MINOR PROGRAM…: each program needs no newer glibc than that, by the versions of the symbols that it
takes from it. What has no such symbol (linked statically) needs none. Exit 77: skipped."""
import os
import re
import subprocess
import sys


def needed(path):
    """(version, symbols of that version), highest first."""
    told = subprocess.run(["readelf", "-W", "--dyn-syms", path], capture_output=True, text=True, check=True).stdout
    by_version = {}
    for line in told.splitlines():
        if found := re.search(r"\sUND\s+(\S+?)@@?GLIBC_(\d+)\.(\d+)", line):
            by_version.setdefault((int(found[2]), int(found[3])), []).append(found[1])
    return sorted(by_version.items(), reverse=True)


def libraries(path):
    told = subprocess.run(["readelf", "-W", "-d", path], capture_output=True, text=True, check=True).stdout
    return re.findall(r"\(NEEDED\).*\[(.*)\]", told)


def main():
    most = tuple(int(part) for part in sys.argv[1].split("."))
    missing = [p for p in sys.argv[2:] if not os.path.exists(p)]
    if missing:
        print(f"skipped: no release build: {missing[0]} is not there (make build)")
        return 77
    bad = 0
    for path in sys.argv[2:]:
        versions, shared = needed(path), libraries(path)
        highest = "%d.%d" % versions[0][0] if versions else "none"
        print(f"{os.path.basename(path)}: glibc {highest}; {len(shared)} shared libraries")
        for version, symbols in versions:
            if version > most:
                bad += 1
                print(f"  {version[0]}.{version[1]}: {' '.join(sorted(symbols))}")
        # A library of the build machine that an old system lacks is no better than an old glibc.
        for name in shared:
            if not re.match(r"(libc|libm|libpthread|libdl|librt|ld-linux-x86-64)\.so", name):
                bad += 1
                print(f"  needs {name}, which an old system has not, or another")
    return 1 if bad else 0


sys.exit(main())
