"""The scoreboard of docs/limits.md: every line there beside what was measured. scoreboard.py LIMITS MEASURED.
Exit 1 where the page says PREVENT and more was received than charged, or more is on any person's account than the
limit, or nothing shows that the attack was tried; where it says DETECT and nothing was reported; where it says
NOT COVERED and nothing got through; or where an attack proves nothing because it does not work without Weir either."""
import json
import re
import sys

STATES = ("PREVENT", "DETECT", "NOT COVERED")


def page(path):
    """id → (state, test) of the page's tables."""
    lines = {}
    with open(path, encoding="utf-8") as f:
        for line in f:
            cells = [c.strip() for c in line.strip().strip("|").split("|")]
            if len(cells) == 4 and re.fullmatch(r"[NAW]\d+(\.\d+)?", cells[0]):
                if cells[0] in lines:
                    sys.exit(f"{path}: {cells[0]} stands there twice")
                if cells[2] not in STATES:
                    sys.exit(f"{path}: {cells[0]} is '{cells[2]}', not one of {', '.join(STATES)}")
                lines[cells[0]] = cells[2], cells[3]
    return lines


def charged(row):
    """What was charged to each who may have sent it; None where nobody has an account."""
    of = (row["accounts"] or {}).get("of")
    return [each["charged"] for each in of.values()] if of else None


def refused(row):
    return sum(each["refused"] for each in (row["accounts"] or {"of": {}})["of"].values())


def prevented(row):
    """What speaks against it, or nothing."""
    if row["received"] > row["limit"]:
        return "more than the limit arrived"
    accounts = charged(row)
    if accounts is None:
        return "no account's number"
    if row["accounts"]["fullest"] > row["limit"]:
        return f"an account holds {row['accounts']['fullest']:,}, more than the limit"
    if row["received"] > sum(accounts):
        return "more arrived than was charged"
    if not any(accounts) and not refused(row) and not row["denied"]:
        return "nothing was charged or refused: it was not tried"
    if any(accounts) and not row["received"]:
        return "charged, and nothing arrived: is there a way to the receiver?"
    return ""


def judge(state, row):
    """What is wrong with this line, or nothing."""
    if row["fault"]:
        return row["fault"]
    if row["bare"] <= row["limit"]:
        return f"proves nothing: only {row['bare']:,} bytes without Weir"
    if state == "PREVENT":
        return prevented(row)
    if state == "DETECT" and row["told"] == 0:
        return "it was not reported"
    if state == "NOT COVERED" and row["received"] <= row["limit"]:
        return "it is bounded now: the page says less than is true"
    return ""


def shown(row):
    """The line's numbers: accounts of several persons one by one."""
    accounts = charged(row)
    account = "-" if accounts is None else "+".join(f"{n:,}" for n in accounts if n) or "0"
    stopped = "denied" if row["denied"] and not row["received"] else f"{refused(row):,}"
    return f"{row['id']:6} {row['family']:5} {row['bare']:13,} {row['limit']:9,} {account:>15} {row['received']:9,} {stopped:>13}"


def main():
    limits, measured = sys.argv[1:3]
    told = page(limits)
    for number in [f"N{n}" for n in range(1, 21)] + [f"A{n}" for n in range(1, 15)]:
        if not any(i == number or i.startswith(number + ".") for i in told):
            sys.exit(f"{limits}: {number} is missing")
    wrong = []
    print(f"{'':6} {'':5} {'without Weir':>13} {'limit':>9} {'account':>15} {'receiver':>9} {'refused':>13}")
    with open(measured, encoding="utf-8") as f:
        for row in map(json.loads, f):
            state = told.get(row["id"], ("", ""))[0]
            fault = judge(state, row) if state else "has no line in the page"
            print(f"{shown(row)}  {state:11} {row['what']}{'  ✘ ' + fault if fault else ''}")
            if fault:
                wrong.append(row["id"])
    for i, (state, test) in told.items():
        if "make evasion" not in test and state != "PREVENT":  # those: others.py
            print(f"{i:6} {'':68}  {state:11} {test}")
    if wrong:
        sys.exit(f"not as the page says: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
