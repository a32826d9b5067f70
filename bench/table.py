"""table.py RESULTS OUT: the bench's results as one table and as JSON. A ratio is the line's value over
that of its section's (or group's) base. `goal` of a line: "<=60" for its value, ">=0.97x" for its ratio."""
import json
import sys

TITLES = {
    "replay": "Reading a capture: CPU time a packet",
    "limit": "Bytes that the receiver got under a limit of 1 MiB (60 hasty processes)",
    "overhead": "The cost of weir run, three accounts a packet",
    "levels": "CPU time of a packet where it is charged, by the number of its accounts",
    "hold": "What waits for an answer: from the answer to the next byte at the receiver",
    "idle": "The programs of weir run at rest",
    "ingest": "Committed records of 100 hosts",
    "agents": "Agents with own certificates, each with its stream",
}


def number(text):
    try:
        return float(text)
    except ValueError:
        return None


def shown(value, unit):
    if value is None:
        return "-"
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.2f}" if "Gbit" in unit else f"{value:.1f}"


def judged(r):
    """A line with its goal, and whether it is met."""
    goal = r.get("goal", "")
    if not goal:
        return ""
    most, target, of_ratio = goal[0] == "<", float(goal[2:].rstrip("x")), goal.endswith("x")
    have = r.get("ratio") if of_ratio else r["number"]
    r["met"] = have is not None and (have <= target if most else have >= target)
    sign, unit = "≤" if most else "≥", " ×" if of_ratio else ""
    return f"goal {sign} {target:g}{unit}{'' if r['met'] else ': MISSED'}"


def main():
    lines = [json.loads(line) for line in open(sys.argv[1], encoding="utf-8")]
    bases = {(r["section"], r.get("group", "")): number(r["value"]) for r in lines if r.get("base") == "yes"}
    section = None
    for r in lines:
        value, base = number(r["value"]), bases.get((r["section"], r.get("group", "")))
        r["number"] = value
        if r["section"] == "limit" and value is not None:
            r["ratio"] = round(value / float(r["limit"]), 3)
        elif value is not None and base:
            r["ratio"] = round(value / base, 4)
        if r["section"] != section:
            section = r["section"]
            print(f"\n{TITLES[section]}")
        ratio = f"{r['ratio']:.2f} ×" if "ratio" in r else ""
        unit = r.get("unit", "")
        if section == "limit" and value is not None:
            r["past"] = max(0, int(value) - int(r["limit"]))
            unit = f"{r['past']:,} past it"
        print(f"  {r['name']:<34}{shown(value, r.get('unit', '')):>14} {unit:<24}{ratio:>9}  {judged(r)}  {r.get('note', '')}".rstrip())
    with open(sys.argv[2], "w", encoding="utf-8") as f:
        json.dump(lines, f, indent=1, ensure_ascii=False)
    missed = [r["name"] for r in lines if r.get("met") is False]
    print(f"\nGoals: {sum(1 for r in lines if r.get('met'))} met, {len(missed)} missed{': ' if missed else ''}{', '.join(missed)}")
    print(f"Ratios: to Weir's line (reading), to the limit, or to the same with Weir off. All numbers: {sys.argv[2]}")


if __name__ == "__main__":
    main()
