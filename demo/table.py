"""The demo's table, for people: what was tried, the limit, what the receiver got, how many customers that
is, and whether it held. English, or 简体中文 where LC_ALL, LC_MESSAGES or LANG says zh. Exit 1 if a row
failed."""
import json
import os
import pathlib
import sys
import textwrap
import unicodedata

HEAD = {
    "en": ["", "What was tried", "Limit", "What the receiver got", "Customers in it", "Held"],
    "zh": ["", "做了什么", "上限", "接收方得到", "其中的客户数", "结果"],
}
TRIED = {
    "en": {
        1: "weir exec -- curl uploads a list of {total} customers (20 MB) to Dropbox",
        2: "Under weir run a person does the same; then 100 connections and 60 processes at once",
        3: "A DNS tunnel (iodine) through the company's resolver",
        4: "Meanwhile on the same desk: a 200 MB download and 200 web pages",
        5: "guard and engine killed with -9 during an upload; the upload goes on, then Weir starts again",
        6: "The recorded event log is replayed",
        7: "A fresh collector, two desks that enrolled by a token each: a person uploads; a policy approves the place; it is taken back; the collector and a desk's whole agent are killed with -9",
    },
    "zh": {
        1: "weir exec -- curl 把 {total} 名客户的名单（20 MB）上传到 Dropbox",
        2: "weir run 之下某人做同样的事；随后 100 个连接和 60 个进程同时上传",
        3: "经公司 DNS 解析器的 DNS 隧道（iodine）",
        4: "同时在同一台机器上：下载 200 MB，打开 200 个网页",
        5: "上传途中用 kill -9 杀掉 guard 和 engine；上传继续，然后重新启动 Weir",
        6: "重放记录下来的事件日志",
        7: "全新的 collector，两台机器各凭一枚令牌注册：某人上传；发布批准该去处的策略；再撤回；用 kill -9 杀掉 collector 和一台机器的整个代理",
    },
}
GOT = {
    "en": {
        1: "{bytes}; curl ended after {seconds} s with error {error}, weir with exit {exit}",
        2: "{bytes} from {person}; {crowd} more from the crowd ({fresh} from {fresh_person}'s). Report: {report}",
        3: "{payload} of payload; stopped after {seconds} s; others' lookups: {lookups} of {asked} answered. Report: {report}",
        4: "{downloaded} of 200 MB and {pages} of 200 pages, byte for byte; {seconds} s ({plain_seconds} s without Weir), a page in {page_ms} ms ({plain_page_ms})",
        5: "{bytes} in all, of which {after} after the kill and {again} after the restart",
        6: "{reports} reports; byte for byte the same: {same}",
        7: "{bytes}; its report shows {seen} s after the upload began. Approved: whole {passes} s after the publishing command ended. Taken back: {again} more. After the kills each of {reports} reports is there once: {once}",
    },
    "zh": {
        1: "{bytes}；curl 在 {seconds} 秒后结束（错误 {error}），weir 的退出码为 {exit}",
        2: "{person} 发出 {bytes}；之后的并发又得到 {crowd}（{fresh_person} 的并发得到 {fresh}）。报告：{report}",
        3: "载荷 {payload}；{seconds} 秒后被切断；其他人的查询 {asked} 次中 {lookups} 次得到回答。报告：{report}",
        4: "200 MB 中的 {downloaded}，200 个网页中的 {pages} 个，逐字节一致；用时 {seconds} 秒（没有 Weir 时 {plain_seconds} 秒），每页 {page_ms} 毫秒（{plain_page_ms}）",
        5: "共 {bytes}，其中被杀之后 {after}，重新启动之后 {again}",
        6: "{reports} 份报告；逐字节相同：{same}",
        7: "{bytes}；上传开始 {seen} 秒后报告出现。批准之后：发布命令结束 {passes} 秒后全部通过。撤回之后：又得到 {again}。被杀之后 {reports} 份报告各有一份：{once}",
    },
}
LIMITS = {
    "en": {1: "256 KiB", 2: "256 KiB a day and person (half at once)", 3: "none allowed", 4: "none", 5: "256 KiB a day and person (half at once)", 6: "-", 7: "256 KiB a day and person (half at once)"},
    "zh": {1: "256 KiB", 2: "每人每天 256 KiB（先给一半）", 3: "不允许", 4: "无", 5: "每人每天 256 KiB（先给一半）", 6: "-", 7: "每人每天 256 KiB（先给一半）"},
}
WORDS = {
    "en": {"all": "Every row held.", "some": "Did not hold:", "yes": "yes", "no": "no"},
    "zh": {"all": "每一行都守住了。", "some": "没有守住：", "yes": "是", "no": "否"},
}
BYTES = {"bytes", "crowd", "fresh", "payload", "after", "again"}
WIDTHS = [2, 38, 17, 44, 15, 4]


class Measured(dict):
    """What a row that ended early did not measure is shown as a dash."""

    def __missing__(self, key):
        return "-"


def language():
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if os.environ.get(name):
            return "zh" if os.environ[name].startswith("zh") else "en"
    return "en"


def scaled(text):
    try:
        n = int(text)
    except ValueError:
        return text
    if n < 1024:
        return f"{n} B"
    return f"{n / 1024:.1f} KiB" if n < 1024 * 1024 else f"{n / 1048576:.1f} MiB"


def width(text):
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def wrap(text, limit):
    """Lines of at most `limit` columns: at spaces, or between wide characters."""
    lines, line = [], ""
    pieces = []
    for word in text.split(" "):
        run = ""
        for c in word:
            if width(c) == 2:
                if c in "，。；：）" and (run or pieces) and pieces and not run:
                    pieces[-1] += c
                    continue
                if run:
                    pieces.append(run)
                    run = ""
                pieces.append(c)
            else:
                run += c
        if run:
            pieces.append(run)
        pieces.append(" ")
    for piece in pieces:
        if width(line + piece.rstrip()) > limit and line.strip():
            lines.append(line.rstrip())
            line = "" if piece == " " else piece
        else:
            line += piece
    lines.append(line.rstrip())
    return [part for whole in lines for part in (textwrap.wrap(whole, limit) if width(whole) > limit and whole.isascii() else [whole])]


def row_lines(cells):
    columns = [wrap(cell, w) for cell, w in zip(cells, WIDTHS)]
    for i in range(max(map(len, columns))):
        parts = [(c[i] if i < len(c) else "") for c in columns]
        yield "  ".join(p + " " * (w - width(p)) for p, w in zip(parts, WIDTHS)).rstrip()


def main():
    lang = language()
    rows = [json.loads(p.read_text(encoding="utf-8")) for p in sorted(pathlib.Path(sys.argv[1]).glob("row*.json"))]
    if not rows:
        sys.exit("no rows were measured")
    rule = "─" * (sum(WIDTHS) + 2 * (len(WIDTHS) - 1))
    print("\n".join(["", *row_lines(HEAD[lang]), rule]))
    for row in rows:
        n, ok = row["row"], not row["failed"]
        values = {k: scaled(v) if k in BYTES else v for k, v in row["measured"].items()}
        values["downloaded"] = f"{int(values.get('downloaded') or 0) / 1e6:.0f} MB"
        for word in ("same", "once"):
            values[word] = WORDS[lang].get(values.get(word, ""), "")
        customers = row["measured"].get("customers", "")
        values = Measured(values)
        cells = [str(n), TRIED[lang][n].format_map(values), LIMITS[lang][n], GOT[lang][n].format_map(values), customers, "✔" if ok else "✘"]
        print("\n".join([*row_lines(cells), rule]))
    broken = [(r["row"], f) for r in rows for f in r["failed"]]
    print(WORDS[lang]["some"] if broken else WORDS[lang]["all"])
    for n, f in broken:
        print(f"  {n}: {f}")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
