"""accuracy.py [WEIR]: what the detectors find in the labelled corpus ($WEIR_CORPUS), as one table.

Truth is the corpus's own: DOMAINS.csv names the zone of each tunnel and slow sender; MANIFEST.csv labels
captures. DNS is judged per (capture, zone), an upload per capture. A false alarm is a report on a capture
that is labelled benign, or on another zone of a capture whose zones are known. Captures of other labels
(protocol samples, messengers, damaged copies …) say nothing about a detector: what is reported there is
listed, not judged. Exit 1 if a capture could not be replayed at all.
"""
import csv
import json
import os
import subprocess
import sys
from collections import Counter, defaultdict

BENIGN = ("benign_dns", "benign_mixed", "benign_tls")
HARD = ("benign_dns_hard",)
UPLOADS = ("cloud_upload",)
BATCH = 40  # captures a run


def rows(path):
    with open(path, encoding="utf-8", newline="") as f:
        return list(csv.DictReader(f))


def true_zone(text):
    """The zone of a DOMAINS.csv row; "(none: first label X)" is a tunnel that has only that label."""
    return text.rsplit(" ", 1)[-1].rstrip(")") if text.startswith("(none") else text


def replay(weir, root, captures):
    """{capture: [report, …]}: the last revision of each report."""
    reports = {}
    for at in range(0, len(captures), BATCH):
        batch = captures[at:at + BATCH]
        command = [weir, "replay", "--format", "json"] + [os.path.join(root, c) for c in batch]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode not in (0, 2, 3):
            sys.exit(f"accuracy: {' '.join(command[:4])} … ended with {run.returncode}: {run.stderr[-400:]}")
        for line in run.stdout.splitlines():
            message = json.loads(line)
            if "finding" in message:
                reports[(message["capture"], message["id"])] = message
    by_capture = defaultdict(list)
    for (capture, _), report in reports.items():
        by_capture[os.path.relpath(capture, root)].append(report)
    return by_capture


def ratio(part, whole):
    return f"{part / whole:.3f}" if whole else "-"


def print_row(detector, truth, found, of, alarms, where):
    print(f"{detector:<13}{truth:<24}{found if of else '-':>6}{of or '-':>5}{alarms:>14}"
          f"{ratio(found, found + alarms):>11}{ratio(found, of) if of else '-':>8}   {where}")


def main():
    weir = sys.argv[1] if len(sys.argv) > 1 else "build/bin/weir"
    corpus = os.environ.get("WEIR_CORPUS", "")
    root = os.path.join(corpus, "traffic")
    if not corpus or not os.path.isdir(root):
        print("accuracy: skipped, WEIR_CORPUS names no folder with labelled captures")
        return
    label_of = {r["path"]: r["label"] for r in rows(os.path.join(root, "MANIFEST.csv")) if r["path"]}
    label_of = {p: l for p, l in label_of.items() if os.path.isfile(os.path.join(root, p))}
    zones = defaultdict(dict)
    for r in rows(os.path.join(root, "DOMAINS.csv")):
        zones[r["path"]][true_zone(r["zone"])] = r["truth"]
    seen = replay(weir, root, sorted(label_of))

    def of_detector(capture, detector):
        return [r for r in seen[capture] if r["finding"]["detector"] == detector]

    def captures_of(labels):
        return [c for c, label in label_of.items() if label in labels]

    def alarms(captures, detector):
        return sum(len(of_detector(c, detector)) for c in captures)

    benign, hard = captures_of(BENIGN), captures_of(HARD)
    print(f"{'detector':<13}{'truth':<24}{'found':>6}{'of':>5}{'false alarms':>14}{'precision':>11}{'recall':>8}")
    missed = []
    for truth in ("tunnel", "exfil"):
        pairs = [(c, z) for c, known in zones.items() for z, t in known.items() if t == truth and c in label_of]
        named = {c: {r["destination"]["zone"] for r in of_detector(c, "dns_tunnel")} for c, _ in pairs}
        found = sum(z in named[c] for c, z in pairs)
        missed += [f"{c}: {z}" for c, z in pairs if z not in named[c]]
        others = sum(len(named[c] - set(zones[c])) for c in named)
        print_row("dns_tunnel", f"{truth}, by zone", found, len(pairs), others + alarms(benign, "dns_tunnel"),
                  f"{len(benign)} benign captures, other zones of {len(named)}")
    print_row("dns_tunnel", "hard negatives", 0, 0, alarms(hard, "dns_tunnel"), f"zones of {len(hard)} capture(s)")
    uploads = captures_of(UPLOADS)
    found = [c for c in uploads if of_detector(c, "cloud_upload")]
    missed += [f"{c}: upload" for c in uploads if c not in found]
    print_row("cloud_upload", "upload, by capture", len(found), len(uploads),
              alarms(benign + hard, "cloud_upload"), f"{len(benign) + len(hard)} benign captures")
    print_row("bulk_egress", "no labelled capture", 0, 0, alarms(benign + hard, "bulk_egress"),
              f"{len(benign) + len(hard)} benign captures")
    for line in missed:
        print(f"missed: {line}")
    judged = set(benign + hard + uploads) | set(zones)
    rest = Counter((label_of[c], r["finding"]["detector"]) for c in label_of if c not in judged for r in seen[c])
    for (label, detector), count in sorted(rest.items()):
        print(f"not judged: {count} report(s) of {detector} on captures labelled {label}")


if __name__ == "__main__":
    main()
