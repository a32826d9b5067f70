# Memory and idle CPU of each program of `weir run`. Private is what would be free without it: pages that
# it shares with others, its program text among them, are not in it. weir-uplink only runs on an enrolled host.
# shellcheck shell=bash disable=SC2154
readonly IDLE_S=20

below() {
  local child
  for child in $(cat /proc/"$1"/task/*/children 2>/dev/null); do echo "$child"; below "$child"; done
}

# In ns: a tick of /proc/PID/stat would be a tenth of the budget.
ran() { awk '{ns += $1} END {printf "%d", ns}' "/proc/$1"/task/*/schedstat; }

mib_of() { awk -v field="$2" '$1 ~ field {kib += $2} END {printf "%.1f", kib / 1024}' "$1"; }

# Of the guard itself, not of what starts its engine: the one below `weir run` by that name.
idle_goal() {
  [[ $(cat "/proc/$1/comm") == weir-guard && $(awk '/^PPid/ {print $2}' "/proc/$1/status") == "$2" ]] && echo "<=12"
}

bench_idle() {
  local pid pids before=() i private all=0
  start_bench_weir || { result idle "weir run" "" note="did not get ready"; return; }
  sleep 2
  mapfile -t pids < <(echo "$weir_pid"; below "$weir_pid")
  for pid in "${pids[@]}"; do before+=("$(ran "$pid")"); done
  sleep $IDLE_S
  for i in "${!pids[@]}"; do
    pid=${pids[$i]}
    private=$(mib_of "/proc/$pid/smaps_rollup" '^Private_(Clean|Dirty|Hugetlb):')
    all=$(awk -v a="$all" -v b="$private" 'BEGIN {printf "%.1f", a + b}')
    result idle "$(cat "/proc/$pid/comm")" "$(mib_of "/proc/$pid/status" '^VmRSS:')" unit="MiB resident" goal="$(idle_goal "$pid" "$weir_pid")" \
      note="$private MiB private, $(awk -v a="${before[$i]}" -v b="$(ran "$pid")" -v s=$IDLE_S \
        'BEGIN {printf "%.3f %% CPU idle", (b - a) / 1e9 / s * 100}')"
  done
  result idle "all programs" "$all" unit="MiB private" goal="<=60" \
    note="${#pids[@]} processes; without weir-uplink, which an enrolled host has beside them"
  stop_bench_weir
}
