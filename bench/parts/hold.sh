# How long what waits for an answer takes to go on: from the answer to the next byte at the receiver, for
# one flow and for 200 at once, beside the way of the same bytes without Weir.
# shellcheck shell=bash disable=SC2154
readonly HOLD_PORT=9002 HOLD_ONE_ROUNDS=40 HOLD_MANY=200 HOLD_MANY_ROUNDS=5

# percentile P of the numbers on standard input
percentile() { grep -v hung | sort -g | awk -v p="$1" '{v[NR] = $1} END {if (NR) {n = int(NR * p / 100 + 0.999); print v[n < 1 ? 1 : n]}}'; }

hold_goal() { case $1 in 1-50) echo "<=2" ;; $HOLD_MANY-99) echo "<=60" ;; esac; }

# hold_figures TITLE FILE GROUP [base=yes]
hold_figures() {
  local p
  for p in 50 90 99; do
    result hold "$1, p$p" "$(percentile $p <"$2")" unit=ms group="$3-$p" "${4:-base=}" \
      goal="$([[ -n ${4:-} ]] || hold_goal "$3-$p")" \
      note="$(wc -l <"$2") measured, $(grep -c hung "$2") hung"
  done
}

bench_hold() {
  lab_spawn outside receiver "$bin/bench_hold" receive $LAB_STORAGE $HOLD_PORT
  local receiver=$LAB_PID flows rounds
  sleep 0.5
  for flows in 1 $HOLD_MANY; do
    rounds=$([[ $flows == 1 ]] && echo $HOLD_ONE_ROUNDS || echo $HOLD_MANY_ROUNDS)
    lab_net desk "$bin/bench_hold" plain $LAB_STORAGE $HOLD_PORT "$flows" "$rounds" >"$LAB/hold.plain.$flows" 2>>"$LAB/log/hold"
    # A cgroup of its own, whose only process it is.
    mkdir -p "$LAB_DESK_CG/hold"
    lab_net desk "$bin/bench_hold" held $LAB_STORAGE $HOLD_PORT "$flows" "$rounds" "$LAB_DESK_CG/hold" >"$LAB/hold.held.$flows" 2>>"$LAB/log/hold" ||
      result hold "$flows flows, held" "" note="$(tail -1 "$LAB/log/hold")"
    rmdir "$LAB_DESK_CG/hold" 2>/dev/null
    hold_figures "$flows without Weir, send to byte" "$LAB/hold.plain.$flows" "$flows" base=yes
    hold_figures "$flows held, answer to byte" "$LAB/hold.held.$flows" "$flows"
  done
  lab_stop "$receiver"
}
