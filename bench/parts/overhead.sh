# What Weir costs: TCP throughput, 64-byte datagrams and connects of one program on the desk, with
# `weir run` off and on, interleaved. Client, server and Weir share this machine's processors.
# shellcheck shell=bash disable=SC2154
readonly OVERHEAD_ROUNDS=3 LOAD_S=2

start_bench_weir() {
  # shellcheck disable=SC2016
  lab_spawn desk weir-bench bash -c 'out=$1; shift; exec "$@" >"$out"' start "$LAB/bench.jsonl" \
    "$WEIR" run --policy "$bench_here/bench.yaml" --cgroup "$LAB_DESK_CG" --pin "$LAB/bpf/bench" \
    --state "$LAB/state/bench" --format json
  weir_pid=$LAB_PID
  lab_wait_for 30 grep -qw ready "$LAB/log/weir-bench"
}

stop_bench_weir() {
  lab_stop "$weir_pid"
  "$WEIR" release --pin "$LAB/bpf/bench" >>"$LAB/log/weir-bench" 2>&1
}

measure() {
  local what
  for what in tcp udp connect; do
    lab_as lin "$bin/bench_net_load" $what $LAB_STORAGE $SINK_PORT $LOAD_S >>"$LAB/load.$what.$1"
  done
}

bench_overhead() {
  local round what
  lab_spawn outside sink "$bin/bench_net_load" sink $LAB_STORAGE $SINK_PORT
  local sink=$LAB_PID
  for ((round = 0; round < OVERHEAD_ROUNDS; round++)); do
    measure off
    start_bench_weir || { result overhead "weir run" "" note="did not get ready"; break; }
    measure on
    stop_bench_weir
  done
  lab_stop "$sink"
  for what in tcp udp connect; do
    result overhead "$(load_title $what), Weir off" "$(median <"$LAB/load.$what.off")" unit="$(load_unit $what)" base=yes group=$what
    [[ -s $LAB/load.$what.on ]] &&
      result overhead "$(load_title $what), Weir on" "$(median <"$LAB/load.$what.on")" unit="$(load_unit $what)" group=$what
  done
}

load_title() { case $1 in tcp) echo "one TCP flow" ;; udp) echo "64-byte UDP" ;; connect) echo "connect + close" ;; esac; }
load_unit() { case $1 in tcp) echo "Gbit/s" ;; udp) echo "datagrams/s" ;; connect) echo "a second" ;; esac; }
