# What a packet costs in the program that charges it, by the number of accounts it is charged to: 64-byte
# datagrams of one socket, with the kernel's own count of the time (which adds some 20 ns to each).
# shellcheck shell=bash disable=SC2154
readonly LEVELS="process_tree person host [person,destination] [process_tree,destination] [host,destination] flow"

# levels_policy N: whose rules charge everything to N accounts that are never spent.
levels_policy() {
  local per window n=0
  printf 'apiVersion: weir/v1\nname: levels\nmode: enforce\nrules:\n'
  for per in $LEVELS; do
    ((n++ < $1)) || break
    window="window: 24h, "
    [[ $per != flow ]] || window=
    printf '  - {id: level-%d, then: {limit: {bytes: 4096GiB, %sper: %s}}}\n' "$n" "$window" "$per"
  done
  (($1 > 0)) || printf '  - {id: none, when: {detector: dns_tunnel}, then: block}\n'
}

bench_levels() {
  local n name sink
  lab_spawn outside level-sink "$bin/bench_net_load" sink $LAB_STORAGE $LOAD_PORT
  sink=$LAB_PID
  for n in 0 1 2 3 4 5 6 7; do
    levels_policy $n >"$LAB/levels.yaml"
    BENCH_POLICY=$LAB/levels.yaml start_bench_weir || { result levels "weir run" "" note="did not get ready"; break; }
    case $n in 0) name="no account" ;; *) name="$n: + $(cut -d' ' -f$n <<<"$LEVELS")" ;; esac
    result levels "$name" "$(python3 "$bench_here/kernel_time.py" "$(echo "$LAB"/bpf/bench/weir/*/links/weir_egress)" -- \
      nsenter "--net=/proc/$LAB_NS_desk/ns/net" sh -c "echo \$\$ >$LAB_DESK_CG/cgroup.procs; exec $bin/bench_net_load udp $LAB_STORAGE $LOAD_PORT $LOAD_S")" \
      unit="ns a packet" base="$( ((n == 0)) && echo yes)"
    stop_bench_weir
  done
  lab_stop "$sink"
}
