# Row 6: what `weir run --record` wrote, replayed: the same reports, byte for byte. The Summary that a
# replay ends with is not a report.
# shellcheck shell=bash disable=SC2154
row_replay() {
  lab_say "6: the recorded event log, replayed"
  local live same=no
  # No --policy: the log carries the one that it was recorded under.
  "$WEIR" replay --format json "$LAB/events.log" >"$LAB/replayed.jsonl" 2>"$LAB/log/replay"
  holds "weir replay exits 0" same $? 0
  only_reports "$LAB/desk.jsonl" >"$LAB/reports.live"
  only_reports "$LAB/replayed.jsonl" >"$LAB/reports.replayed"
  live=$(wc -l <"$LAB/reports.live")
  cmp -s "$LAB/reports.live" "$LAB/reports.replayed" && same=yes
  holds "there are reports to compare ($live)" between "$live" 1 999999
  holds "they are the same byte for byte" same $same yes
  write_row 6 reports="$live" same=$same
}

only_reports() { grep '"decision":' "$1"; }
