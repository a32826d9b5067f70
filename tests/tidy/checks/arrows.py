"""Who may include whom, as docs/architecture.md draws it; the first row that holds a file counts."""
from tree import finding, includes

OURS = ("core/", "platform/", "agent/", "collector/", "proto/", "weir/v1/", "tests/", "bench/")

# (files below, what they may include of ours)
ROWS = [
    # The YAML surface stands apart: only a program that reads policies for people links it.
    ("core/policy/surface/", ("core/",)),
    ("core/", ("core/base/", "core/event/", "core/net/", "core/content/", "core/detect/", "core/policy/",
               "core/line/")),
    ("proto/map/", ("core/", "proto/map/", "weir/v1/")),
    # A client of the Connect protocol: for whoever types a command or renews a certificate.
    ("proto/connect/", ("core/base/", "proto/connect/")),
    ("platform/capture_file/", ("core/", "platform/capture_file/")),
    ("platform/event_log/", ("core/", "proto/map/", "weir/v1/", "platform/event_log/")),
    ("platform/linux/bpf/", ("platform/linux/bpf/",)),
    ("platform/linux/", ("core/", "platform/files/", "platform/linux/")),
    ("platform/", ("core/", "platform/")),
    ("agent/wire/", ("core/", "proto/map/", "weir/v1/", "agent/wire/")),
    # The guard parses nothing: no protobuf, no policy text, no capture, no public suffix list.
    ("agent/guard/", ("core/base/", "core/event/", "core/net/domain.h", "core/policy/", "platform/files/", "platform/linux/",
                      "agent/guard/")),
    ("agent/spool/", ("core/base/", "platform/files/", "agent/spool/")),
    # The uplink speaks with the collector: it sees the spool and the guard's messages, not the line.
    ("agent/uplink/", ("core/base/", "proto/connect/", "weir/v1/", "platform/files/", "platform/linux/seal/",
                       "agent/guard/", "agent/spool/", "agent/uplink/")),
    ("agent/engine/", ("core/", "platform/", "proto/map/", "weir/v1/", "agent/")),
    ("agent/", ("core/", "platform/", "proto/connect/", "proto/map/", "weir/v1/", "agent/")),
    ("collector/ctl/", ("core/", "proto/connect/", "proto/map/", "weir/v1/", "collector/api/admin_file.h", "platform/files/", "collector/ctl/")),
    ("collector/", ("core/", "platform/doorman/", "platform/files/", "proto/connect/", "proto/map/", "weir/v1/", "collector/")),
    ("tests/", OURS),
    ("bench/", OURS),
]
SURFACE = "core/policy/surface/"
SURFACE_USERS = ("core/policy/surface/", "agent/cli/", "agent/run/", "collector/", "tests/", "bench/")


def check(tree):
    """core ← platform ← agent, core ← collector; the wire only where it is mapped."""
    found = []
    for path in tree.having(".h", ".cpp", ".c"):
        row = next((allowed for start, allowed in ROWS if path.startswith(start)), None)
        if row is None:
            found.append(finding(path, 1, "stands in no folder that has an arrow; see ROWS in tests/tidy/checks/arrows.py"))
            continue
        for line, target, quoted in includes(tree.text(path)):
            ours = target.startswith(OURS)
            if quoted and not ours and "/" in target:
                found.append(finding(path, line, f'"{target}" is not ours: use <…>'))
            if ours and not target.startswith(row):
                found.append(finding(path, line, f"may not include {target}"))
            elif target.startswith(SURFACE) and not path.startswith(SURFACE_USERS):
                found.append(finding(path, line, f"may not include {target}: YAML is read in `weir` and the collector"))
    return found
