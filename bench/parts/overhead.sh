# What Weir costs: TCP throughput, 64-byte datagrams and connects of one program on the desk, with
# `weir run` off and on, interleaved; connect() also beside OpenSnitch, which asks a program for each
# new flow. Client, server and what watches share this machine's processors.
# shellcheck shell=bash disable=SC2154
readonly OVERHEAD_ROUNDS=9 LOAD_S=2 TCP_S=4 LOADS="tcp udp connect dial"
# Not that of the hasty processes: their connections keep its ports for a minute, and connect() has to
# look for one that is free.
readonly LOAD_PORT=9001

start_bench_weir() {
  rm -f "$LAB/log/weir-bench" # "ready" of the one before
  # shellcheck disable=SC2016
  lab_spawn desk weir-bench bash -c 'out=$1; shift; exec "$@" >"$out"' start "$LAB/bench.jsonl" \
    "$WEIR" run --policy "${BENCH_POLICY:-$bench_here/bench.yaml}" --cgroup "$LAB_DESK_CG" --pin "$LAB/bpf/bench" \
    --state "$LAB/state/bench" --format json
  weir_pid=$LAB_PID
  lab_wait_for 30 grep -qw ready "$LAB/log/weir-bench"
}

stop_bench_weir() {
  lab_stop "$weir_pid"
  "$WEIR" release --pin "$LAB/bpf/bench" >>"$LAB/log/weir-bench" 2>&1
}

# One flow differs by a tenth from one time to the next: of what is left without the highest and the
# lowest quarter, the mean.
middle() { sort -g | awk '{v[NR] = $1} END {q = int(NR / 4); for (i = q + 1; i <= NR - q; i++) sum += v[i]; if (NR) print sum / (NR - 2 * q)}'; }

# measure WITH LOAD…
measure() {
  local what
  for what in "${@:2}"; do
    lab_as lin "$bin/bench_net_load" "$what" $LAB_STORAGE $LOAD_PORT "$([[ $what == tcp ]] && echo $TCP_S || echo $LOAD_S)" >>"$LAB/load.$what.$1"
  done
}

# From its package, which is not installed: its service would start and watch this machine.
opensnitch_program() {
  local at=$root/build/peers/opensnitch
  if [[ ! -x $at/usr/bin/opensnitchd ]]; then
    mkdir -p "$at" && (cd "$at" && apt-get -q download opensnitch && dpkg -x opensnitch_*.deb .) >>"$LAB/log/opensnitch-package" 2>&1
  fi
  [[ -x $at/usr/bin/opensnitchd ]] && echo "$at/usr/bin/opensnitchd"
}

# It allows everything: without its window there is nobody to ask.
measure_opensnitch() {
  local program pid
  program=$(opensnitch_program) || { opensnitch_problem="left out: its package can't be had"; return; }
  mkdir -p "$LAB/opensnitch"
  lab_spawn desk opensnitch "$program" -rules-path "$LAB/opensnitch" -process-monitor-method proc \
    -ui-socket "unix://$LAB/opensnitch/none.sock"
  pid=$LAB_PID
  if lab_wait_for 10 opensnitch_watches; then
    measure opensnitch dial
  else
    opensnitch_problem="left out: it did not start"
  fi
  lab_stop "$pid"
}

opensnitch_watches() { lab_net desk iptables -t mangle -S OUTPUT | grep -q NFQUEUE; }

bench_overhead() {
  local round what opensnitch_problem=""
  lab_spawn outside sink "$bin/bench_net_load" sink $LAB_STORAGE $LOAD_PORT
  local sink=$LAB_PID
  for ((round = 0; round < OVERHEAD_ROUNDS; round++)); do
    measure off $LOADS
    measure_opensnitch
    start_bench_weir || { result overhead "weir run" "" note="did not get ready"; break; }
    measure on $LOADS
    stop_bench_weir
  done
  lab_stop "$sink"
  for what in $LOADS; do
    result overhead "$(load_title $what), Weir off" "$(middle <"$LAB/load.$what.off")" unit="$(load_unit $what)" base=yes group=$what
    [[ -s $LAB/load.$what.on ]] &&
      result overhead "$(load_title $what), Weir on" "$(middle <"$LAB/load.$what.on")" unit="$(load_unit $what)" group=$what goal="$(load_goal $what)"
  done
  result overhead "connect(), with OpenSnitch" "$(middle 2>/dev/null <"$LAB/load.dial.opensnitch")" unit="$(load_unit dial)" group=dial note="$opensnitch_problem"
}

load_title() { case $1 in tcp) echo "one TCP flow" ;; udp) echo "64-byte UDP" ;; connect) echo "connect + close" ;; dial) echo "connect()" ;; esac; }
load_goal() { case $1 in tcp) echo ">=0.97x" ;; udp) echo ">=0.75x" ;; dial) echo "<=1.05x" ;; esac; }
load_unit() { case $1 in tcp) echo "Gbit/s" ;; udp) echo "datagrams/s" ;; connect) echo "a second" ;; dial) echo "us" ;; esac; }
