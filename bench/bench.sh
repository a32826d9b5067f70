#!/usr/bin/env bash
# make bench: every figure of the README beside its peer's, in one run; one table at the end, and all
# numbers in build/bench.json. A peer that is not installed is left out, and the table says so. Runs in
# namespaces and a child cgroup of its own.
#   bench.sh [--only replay,overhead,levels,hold,idle,limit,ingest,agents]
set -uo pipefail
bench_here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../tests/lab/lab.sh
source "$bench_here/../tests/lab/lab.sh"
root=$(cd "$bench_here/.." && pwd)
bin=$root/build/bin
WEIR=${WEIR:-$bin/weir}
results=$root/build/bench.jsonl

only=replay,overhead,levels,hold,idle,limit,ingest,agents
arguments=("$@")
case ${1:-} in
  --only) only=${2:?} ;;
  "") ;;
  *) lab_say "usage: bench.sh [--only replay,overhead,levels,hold,idle,limit,ingest,agents]"; exit 2 ;;
esac
[[ -x $WEIR ]] || { lab_say "no program $WEIR: run make build first"; exit 2; }
lab_enter "${arguments[@]}"

# result SECTION NAME VALUE [key=value]…: one line of the table. unit=…, note=…, goal=…, base=yes: ratios are to it.
result() {
  local pair fields=()
  for pair in "${@:4}"; do fields+=(--arg "${pair%%=*}" "${pair#*=}"); done
  jq -cn --arg section "$1" --arg name "$2" --arg value "$3" "${fields[@]}" '$ARGS.named' >>"$results"
}

median() { sort -g | awk '{v[NR] = $1} END {if (NR) print v[int((NR + 1) / 2)]}'; }

for part in "$bench_here"/parts/*.sh; do
  # shellcheck disable=SC1090
  source "$part"
done

: >"$results"
lab_up
# After `limit` a minute of closed connections fills what OpenSnitch reads for each new one.
for part in replay overhead levels hold idle limit ingest agents; do
  if [[ ,$only, == *,$part,* ]]; then lab_say "bench: $part"; "bench_$part"; fi
done
cp -r "$LAB/log" "$root/build/bench-log" 2>/dev/null
lab_down
python3 "$bench_here/table.py" "$results" "$root/build/bench.json"
