# Memory and idle CPU of each program of `weir run`.
# shellcheck shell=bash disable=SC2154
readonly IDLE_S=20

below() {
  local child
  for child in $(cat /proc/"$1"/task/*/children 2>/dev/null); do echo "$child"; below "$child"; done
}

# In ns: a tick of /proc/PID/stat would be a tenth of the budget.
ran() { awk '{ns += $1} END {printf "%d", ns}' "/proc/$1"/task/*/schedstat; }

bench_idle() {
  local pid pids before=() i
  start_bench_weir || { result idle "weir run" "" note="did not get ready"; return; }
  sleep 2
  mapfile -t pids < <(echo "$weir_pid"; below "$weir_pid")
  for pid in "${pids[@]}"; do before+=("$(ran "$pid")"); done
  sleep $IDLE_S
  for i in "${!pids[@]}"; do
    pid=${pids[$i]}
    result idle "$(cat "/proc/$pid/comm")" "$(awk '/^VmRSS/ {printf "%.1f", $2 / 1024}' "/proc/$pid/status")" unit="MiB resident" \
      note="$(awk -v a="${before[$i]}" -v b="$(ran "$pid")" -v s=$IDLE_S \
        'BEGIN {printf "%.3f %% CPU idle", (b - a) / 1e9 / s * 100}')"
  done
  stop_bench_weir
}
