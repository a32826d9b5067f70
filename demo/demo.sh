#!/usr/bin/env bash
# make demo: real clients try to get data out of a desk; the receiver counts what arrives. Ends with a
# table; exit 0 only if every row holds. Runs in namespaces and a child cgroup of its own.
#   demo.sh [--rows 1,2,3,4,5,6,7] [--out DIR]        WEIR=… another `weir` (the tests' stand-in)
set -uo pipefail
demo_here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../tests/lab/lab.sh
source "$demo_here/../tests/lab/lab.sh"
root=$(cd "$demo_here/.." && pwd)
WEIR=${WEIR:-$root/build/bin/weir}

readonly LIMIT=$((256 * 1024))    # bytes: of row 1 and of demo.yaml
readonly SLACK=$((64 * 1024))     # bytes a TCP receiver may stay below the limit (a super-packet is refused whole)
readonly PROMPT_S=5               # a stopped client hears of it within this many seconds
readonly UPLOAD_BYTES=20000000

rows=1,2,3,4,5,6,7
out=$root/build/demo
arguments=("$@")
while [[ $# -gt 0 ]]; do
  case $1 in
    --rows) rows=$2; shift 2 ;;
    --out) out=$2; shift 2 ;;
    *) lab_say "usage: demo.sh [--rows 1,2,3,4,5,6,7] [--out DIR]"; exit 2 ;;
  esac
done
[[ -x $WEIR ]] || { lab_say "no program $WEIR: run make build first"; exit 2; }
lab_enter "${arguments[@]}"

wants() { [[ ,$rows, == *,$1,* ]]; }

# A row is what was measured and the list of what did not hold; empty means the row holds.
failed=()
holds() { if ! "${@:2}"; then failed+=("$1"); fi; }
between() { [[ $1 =~ ^[0-9]+$ ]] && (($1 >= $2 && $1 <= $3)); }
same() { [[ $1 == "$2" ]]; }
# write_row N [key=value]…: values are numbers or words of the table.
write_row() {
  local n=$1 pair fields=()
  shift
  for pair in "$@"; do fields+=(--arg "${pair%%=*}" "${pair#*=}"); done
  jq -n "${fields[@]}" --argjson failed "$(printf '%s\n' "${failed[@]}" | jq -R . | jq -s 'map(select(. != ""))')" \
    "{row: $n, measured: (\$ARGS.named | del(.failed)), failed: \$failed}" >"$out/row$n.json"
  if [[ ${#failed[@]} -gt 0 ]]; then printf "  row $n did not hold: %s\n" "${failed[@]}" >&2; fi
  failed=()
}
now() { date +%s.%N; }
since() { awk -v a="$1" -v b="$(now)" 'BEGIN {printf "%.1f", b - a}'; }

# The upload, as a person would type it. $1 file; more options of curl after it.
upload_command() {
  echo curl -sS -o /dev/null -m 60 --data-binary "@$1" -H 'Content-Type:application/octet-stream' \
    "${@:2}" https://content.dropboxapi.com/2/files/upload
}

for part in "$demo_here"/rows/*.sh; do
  # shellcheck disable=SC1090
  source "$part"
done

main() {
  mkdir -p "$out"
  rm -f "$out"/row*.json
  lab_up
  customers_total=$(python3 "$lab_here/customers.py" --bytes $UPLOAD_BYTES "$LAB/customers.csv")
  chmod 644 "$LAB/customers.csv"
  if wants 1; then row_exec; fi
  if wants 2 || wants 3 || wants 4 || wants 6; then desk_under_policy; fi
  if wants 5; then row_killed; fi
  if wants 7; then row_fleet; fi
  cp -r "$LAB/log" "$out/" 2>/dev/null
  cp "$LAB"/{desk.jsonl,events.log,replayed.jsonl,watched.jsonl,listed.jsonl,held.jsonl} "$out/" 2>/dev/null
  lab_down
  python3 "$demo_here/table.py" "$out"
}
main
