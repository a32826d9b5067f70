# What passes a limit of 1 MiB: 60 processes of one person connect, write 128 KiB, close, again and again.
# Each mechanism stands in the desk's namespace alone; the receiver's end of the wire counts.
# shellcheck shell=bash disable=SC2154
readonly MIB=1048576 HASTY_S=4 POLL_S=0.1
readonly SINK_PORT=9000

hasty() { echo "$bin/bench_net_load" hasty $LAB_STORAGE $SINK_PORT $HASTY_S; }

start_sink() {
  rm -f "$LAB/wire.json"
  lab_spawn outside wire python3 "$lab_here/wire.py" --device desk --out "$LAB/wire.json"
  LAB_WIRE=$LAB_PID
  lab_spawn outside sink "$bin/bench_net_load" sink $LAB_STORAGE $SINK_PORT
  LAB_RECEIVER=$LAB_PID
  lab_wait_for 10 test -s "$LAB/wire.json"
}

nft_by_user() {
  lab_net desk nft -f - <<<"table inet bench { chain out { type filter hook output priority 0; meta skuid ${LAB_PEOPLE[lin]} quota over $MIB bytes drop; }; }"
  # shellcheck disable=SC2046
  lab_as lin $(hasty)
}

nft_by_mark() {
  lab_net desk nft -f - <<<"table inet bench { chain out { type filter hook output priority 0;
    meta skuid ${LAB_PEOPLE[lin]} ct mark set 7; ct mark 7 quota over $MIB bytes drop; }; }"
  # shellcheck disable=SC2046
  lab_as lin $(hasty)
}

# Polls the person's bytes ten times a second and kills the person's cgroup once they are over.
polling_killer() {
  local used client
  lab_net desk nft -f - <<<"table inet bench { chain out { type filter hook output priority 0;
    meta skuid ${LAB_PEOPLE[lin]} ct mark set 7; ct mark 7 counter; }; }"
  # shellcheck disable=SC2046
  lab_as lin $(hasty) &
  client=$!
  while kill -0 $client 2>/dev/null; do
    used=$(lab_net desk nft -j list table inet bench | jq '[.. | .counter? // empty | .bytes] | add')
    ((used > MIB)) && echo 1 >"$LAB_DESK_CG/cgroup.kill"
    sleep $POLL_S
  done
  wait $client
} 2>/dev/null

weir_exec() {
  # shellcheck disable=SC2046
  (
    echo "${LAB_PEOPLE[lin]}" >/proc/self/loginuid
    echo $BASHPID >"$LAB_CG/outside/cgroup.procs"
    exec nsenter "--net=/proc/$LAB_NS_desk/ns/net" -- "$WEIR" exec --limit 1MiB --cgroup "$LAB_DESK_CG" -- $(hasty)
  )
}

bench_limit() {
  local name bytes
  for name in weir_exec nft_by_mark nft_by_user polling_killer; do
    start_sink
    "$name" >"$LAB/log/limit-$name" 2>&1
    sleep 1 # closed sockets may still send
    lab_stop_receiver
    lab_net desk nft delete table inet bench 2>/dev/null
    bytes=$(lab_wire_bytes)
    result limit "$(limit_title $name)" "$bytes" unit="bytes past a 1 MiB limit" limit=$MIB \
      "$([[ $name == weir_exec ]] && echo base=yes || echo base=)" "$([[ $(lab_wire_dropped) == 0 ]] || echo note="count void")"
  done
}

limit_title() {
  case $1 in
    weir_exec) echo "weir exec --limit 1MiB" ;;
    nft_by_mark) echo "nft quota by connection mark" ;;
    nft_by_user) echo "nft quota by user" ;;
    polling_killer) echo "killer that polls every $POLL_S s" ;;
  esac
}
