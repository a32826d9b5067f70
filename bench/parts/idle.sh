# Memory and idle CPU of each program of `weir run`.
# shellcheck shell=bash disable=SC2154
readonly IDLE_S=10

below() {
  local child
  for child in $(cat /proc/"$1"/task/*/children 2>/dev/null); do echo "$child"; below "$child"; done
}

ticks() { awk '{sub(/.*\) /, ""); print $12 + $13}' "/proc/$1/stat"; }

bench_idle() {
  local pid pids before=() i
  start_bench_weir || { result idle "weir run" "" note="did not get ready"; return; }
  sleep 2
  mapfile -t pids < <(echo "$weir_pid"; below "$weir_pid")
  for pid in "${pids[@]}"; do before+=("$(ticks "$pid")"); done
  sleep $IDLE_S
  for i in "${!pids[@]}"; do
    pid=${pids[$i]}
    result idle "$(cat "/proc/$pid/comm")" "$(awk '/^VmRSS/ {printf "%.1f", $2 / 1024}' "/proc/$pid/status")" unit="MiB resident" \
      note="$(awk -v a="${before[$i]}" -v b="$(ticks "$pid")" -v hz="$(getconf CLK_TCK)" -v s=$IDLE_S \
        'BEGIN {printf "%.2f %% CPU idle", (b - a) / hz / s * 100}')"
  done
  stop_bench_weir
}
