# A lab of real clients and servers in network namespaces: desk, resolver, outside. Sourced by the demo,
# the lab tests and the benches. Nothing of it outlives the script: servers die with their parent
# (pdeathsig), namespaces with their last process, mounts with the private mount namespace; the cgroup is
# killed and removed by lab_down, or by the next lab if this one was killed with -9.
#
#   desk 10.20.0.10 ── 10.20.0.1 outside (203.0.113.0/24: the services) ── 10.0.0.53 resolver
#
# shellcheck shell=bash

lab_here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly lab_here
readonly LAB_DESK=10.20.0.10 LAB_DESK6=2001:db8:1::10 LAB_RESOLVER=10.0.0.53 LAB_RESOLVER6=2001:db8:53::53
readonly LAB_AUTHORITY=203.0.113.53 LAB_TUNNEL_SERVER=203.0.113.66
readonly LAB_STORAGE=203.0.113.10 LAB_STORAGE6=2001:db8:2::10 LAB_PAGES=203.0.113.30 LAB_MIRROR=203.0.113.40
readonly LAB_COLLECTOR=203.0.113.90 LAB_COLLECTOR_NAME=collector.example-office.org
readonly LAB_TUNNEL_DOMAIN=t.lab-tunnel.net LAB_TUNNEL_ZONE=lab-tunnel.net
readonly LAB_SKIP=77 # exit status that CTest takes for "skipped"
# People of the desk: login uid and name. Uids from 20001 on are free on a fresh Debian.
declare -rA LAB_PEOPLE=([lin]=20001 [wang]=20002 [chen]=20003 [zhao]=20004 [smith]=20005 [wu]=20006)

lab_say() { printf '%s\n' "$*" >&2; }

# Prints what this machine lacks for the lab, one a line; nothing where all is there.
lab_missing() {
  [[ $EUID -eq 0 ]] || echo "root"
  local tool
  for tool in curl dnsmasq nginx openssl nsenter unshare setpriv jq python3 ip; do
    PATH=$PATH:/usr/sbin:/sbin command -v "$tool" >/dev/null || echo "program $tool"
  done
  [[ $EUID -eq 0 ]] || return 0
  unshare -n true 2>/dev/null || echo "network namespaces"
  unshare -m true 2>/dev/null || echo "mount namespaces"
  [[ -n $(lab_cgroup2) ]] || echo "a cgroup2 mount"
  [[ -c /dev/net/tun ]] || echo "/dev/net/tun"
}

# The cgroup2 mount; it may stand anywhere (hybrid: /sys/fs/cgroup/unified).
lab_cgroup2() { awk '{for (i = 7; i < NF; i++) if ($i == "-" && $(i+1) == "cgroup2") {print $5; exit}}' /proc/self/mountinfo; }

# Starts the calling script again in a mount namespace of its own. Call first: lab_enter "$@".
lab_enter() {
  [[ ${WEIR_LAB_INSIDE:-} == "$$" ]] && return 0
  local missing
  missing=$(lab_missing)
  if [[ -n $missing ]]; then
    lab_say "skipped: the lab needs: ${missing//$'\n'/, }"
    exit $LAB_SKIP
  fi
  # exec keeps the process id, which is how the second start knows itself.
  WEIR_LAB_INSIDE=$$ exec unshare -m --propagation private bash "$0" "$@"
}

# lab_up: namespaces, addresses, cgroup, CA, resolver and names. Sets LAB, LAB_CG, LAB_DESK_CG.
lab_up() {
  export PATH=$PATH:/usr/sbin:/sbin
  trap 'lab_down' EXIT
  trap 'exit 130' INT TERM HUP
  LAB=$(mktemp -d /tmp/weir-lab.$$.XXXXXX)
  mount -t tmpfs -o size=512m,mode=755 weir-lab "$LAB"
  mkdir -p "$LAB"/{log,bpf,state,etc,www}
  # An instance of bpffs of its own: pins in it end with this mount namespace.
  mount -t bpf -o mode=700 weir-lab "$LAB/bpf" || lab_say "no bpffs here: nothing can be pinned"
  LAB_CG=$(lab_cgroup2)/weir-lab-$$
  lab_remove_leftovers
  mkdir -p "$LAB_CG"/{desk,outside}
  LAB_DESK_CG=$LAB_CG/desk
  lab_namespaces
  lab_mount_etc
  lab_make_ca
  lab_start_dns
}

# Ends every process of the lab, its cgroup and its folder. Safe to call twice and half-way through.
lab_down() {
  trap - EXIT
  [[ -n ${LAB:-} ]] || return 0
  lab_remove_cgroup "$LAB_CG"
  local pid
  for pid in "${LAB_NS_desk:-}" "${LAB_NS_resolver:-}" "${LAB_NS_outside:-}"; do
    [[ -n $pid ]] && kill -9 "$pid" 2>/dev/null
  done
  mountpoint -q "$LAB/bpf" && umount -l "$LAB/bpf"
  umount -l /etc 2>/dev/null
  umount -l "$LAB" 2>/dev/null
  rmdir "$LAB" 2>/dev/null
  LAB=
}

# cgroup.kill ends all processes in it, however they were forked; those below it as well.
lab_remove_cgroup() {
  local cg=$1 tries=50
  [[ -d $cg ]] || return 0
  [[ -w $cg/cgroup.kill ]] && echo 1 >"$cg/cgroup.kill"
  while ((tries-- > 0)); do
    find "$cg" -depth -type d -exec rmdir {} + 2>/dev/null
    [[ -d $cg ]] || return 0
    sleep 0.1
  done
  lab_say "could not remove $cg"
}

# Cgroups and folders of labs whose script was killed with -9.
lab_remove_leftovers() {
  local old pid
  for old in /tmp/weir-lab.*.*; do
    pid=${old#*weir-lab.}
    [[ -d $old && ! -d /proc/${pid%%.*} ]] && rmdir "$old"
  done
  for old in "$(lab_cgroup2)"/weir-lab-*; do
    [[ -d $old && ! -d /proc/${old##*-} ]] && lab_remove_cgroup "$old"
  done
  return 0
}

# A namespace lives as long as its sleeping holder: nothing is mounted below /run/netns.
lab_holder() {
  setpriv --pdeathsig KILL -- unshare -n sleep 3600 </dev/null >/dev/null 2>&1 &
  declare -g "LAB_NS_$1=$!"
  disown "$!" # bash would tell of its end
  local tries=100 own
  own=$(readlink /proc/self/ns/net)
  while ((tries-- > 0)) && [[ $(readlink "/proc/$!/ns/net") == "$own" ]]; do sleep 0.02; done
}

lab_namespaces() {
  local ns
  for ns in desk resolver outside; do lab_holder $ns; lab_net $ns ip link set lo up; done
  lab_net outside ip link add desk type veth peer name eth0 netns "$LAB_NS_desk"
  lab_net outside ip link add names type veth peer name eth0 netns "$LAB_NS_resolver"
  lab_net outside ip addr add 10.20.0.1/24 dev desk
  lab_net outside ip addr add 10.0.0.1/24 dev names
  lab_net outside ip -6 addr add 2001:db8:1::1/64 dev desk nodad
  lab_net outside ip -6 addr add 2001:db8:53::1/64 dev names nodad
  local address
  for address in $LAB_STORAGE $LAB_PAGES $LAB_MIRROR $LAB_AUTHORITY $LAB_TUNNEL_SERVER $LAB_COLLECTOR; do
    lab_net outside ip addr add $address/32 dev lo
  done
  lab_net outside ip -6 addr add $LAB_STORAGE6/128 dev lo nodad
  lab_net outside ip link set desk up
  lab_net outside ip link set names up
  lab_net outside sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding'
  lab_net desk ip addr add $LAB_DESK/24 dev eth0
  lab_net desk ip -6 addr add $LAB_DESK6/64 dev eth0 nodad
  lab_net desk ip link set eth0 up
  lab_net desk ip route add default via 10.20.0.1
  lab_net desk ip -6 route add default via 2001:db8:1::1
  lab_net resolver ip addr add $LAB_RESOLVER/24 dev eth0
  lab_net resolver ip -6 addr add $LAB_RESOLVER6/64 dev eth0 nodad
  lab_net resolver ip link set eth0 up
  lab_net resolver ip route add default via 10.0.0.1
  lab_net resolver ip -6 route add default via 2001:db8:53::1
}

# lab_net NS CMD…: in that network namespace, in the cgroup of the caller.
lab_net() { local pid=LAB_NS_$1; nsenter "--net=/proc/${!pid}/ns/net" -- "${@:2}"; }

# The lab's own /etc: names, people. The host's stays as it is.
lab_mount_etc() {
  cp -a /etc/. "$LAB/etc"
  rm -f "$LAB/etc/resolv.conf" "$LAB/etc/hosts"
  echo "nameserver $LAB_RESOLVER" >"$LAB/etc/resolv.conf"
  printf '127.0.0.1 localhost\n::1 localhost\n' >"$LAB/etc/hosts"
  sed -i 's/^hosts:.*/hosts: files dns/; s/^passwd:.*/passwd: files/' "$LAB/etc/nsswitch.conf"
  local name
  for name in "${!LAB_PEOPLE[@]}"; do
    echo "$name:x:${LAB_PEOPLE[$name]}:${LAB_PEOPLE[$name]}::/tmp:/bin/bash" >>"$LAB/etc/passwd"
  done
  mount --bind "$LAB/etc" /etc
}

# One private CA, one certificate with the real names. Clients trust it by CURL_CA_BUNDLE alone.
lab_make_ca() {
  local d=$LAB/ca
  mkdir -p "$d"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=Weir lab CA" \
    -keyout "$d/ca.key" -out "$d/ca.pem" 2>/dev/null
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=lab" \
    -keyout "$d/server.key" -out "$d/server.csr" 2>/dev/null
  printf 'subjectAltName=%s\n' "DNS:content.dropboxapi.com,DNS:api.dropboxapi.com,DNS:mirror.example-download.org,DNS:*.example-press.com" >"$d/san"
  openssl x509 -req -in "$d/server.csr" -CA "$d/ca.pem" -CAkey "$d/ca.key" -CAcreateserial -days 2 \
    -extfile "$d/san" -out "$d/server.pem" 2>/dev/null
  export CURL_CA_BUNDLE=$d/ca.pem SSL_CERT_FILE=$d/ca.pem
}

# The authority answers for the lab's names and for LAB_MORE_NAMES (lines of its own kind), the resolver asks it; the
# tunnel's zone goes to iodined.
lab_start_dns() {
  cat >"$LAB/authority.conf" <<CONF
no-resolv
no-hosts
user=root
bind-interfaces
except-interface=lo
listen-address=$LAB_AUTHORITY
host-record=content.dropboxapi.com,api.dropboxapi.com,$LAB_STORAGE,$LAB_STORAGE6
host-record=mirror.example-download.org,$LAB_MIRROR
host-record=$LAB_COLLECTOR_NAME,$LAB_COLLECTOR
address=/example-press.com/$LAB_PAGES
${LAB_MORE_NAMES:-}
CONF
  cat >"$LAB/resolver.conf" <<CONF
no-resolv
no-hosts
user=root
bind-interfaces
except-interface=lo
listen-address=$LAB_RESOLVER
listen-address=$LAB_RESOLVER6
cache-size=1000
server=$LAB_AUTHORITY
server=/$LAB_TUNNEL_ZONE/$LAB_TUNNEL_SERVER
CONF
  lab_spawn outside authority dnsmasq -k -C "$LAB/authority.conf" --pid-file=
  # Under the desk's hooks: its own questions upstream must go on when a tunnel through it is stopped.
  LAB_SPAWN_CG=$LAB_DESK_CG lab_start_resolver
  lab_wait_for 5 lab_net desk getent ahostsv4 content.dropboxapi.com
}

lab_start_resolver() {
  lab_spawn resolver resolver dnsmasq -k -C "$LAB/resolver.conf" --pid-file=
  LAB_RESOLVER_PID=$LAB_PID
}

# lab_spawn NS NAME CMD…: a server in the background, in the lab's own cgroup; its output in log/NAME.
# Sets LAB_PID. The cgroup is left before the exec, so that the desk's hooks never see a server.
lab_spawn() {
  local ns=LAB_NS_$1 name=$2
  (
    echo $BASHPID >"${LAB_SPAWN_CG:-$LAB_CG/outside}/cgroup.procs"
    exec setsid setpriv --pdeathsig KILL -- nsenter "--net=/proc/${!ns}/ns/net" -- "${@:3}"
  ) </dev/null >"$LAB/log/$name" 2>&1 &
  LAB_PID=$!
  disown "$LAB_PID"
}

# lab_as PERSON CMD…: a person's program on the desk: login uid, child cgroup, uid; in this order, so
# that the process tree starts with its person known. Runs in the foreground; add & as you like.
lab_as() {
  local uid=${LAB_PEOPLE[$1]}
  lab_desk "$uid" setpriv "--reuid=$uid" "--regid=$uid" --clear-groups -- "${@:2}"
}

# lab_as_root PERSON CMD…: the same person with root's rights (sudo keeps the login uid).
lab_as_root() { lab_desk "${LAB_PEOPLE[$1]}" "${@:2}"; }

lab_desk() {
  (
    { [[ -n $1 ]] && echo "$1" >/proc/self/loginuid; } 2>/dev/null
    echo $BASHPID >"$LAB_DESK_CG/cgroup.procs"
    exec nsenter "--net=/proc/$LAB_NS_desk/ns/net" -- "${@:2}"
  )
}

# lab_wait_for SECONDS CMD…: until the command succeeds.
lab_wait_for() {
  local end=$((SECONDS + $1))
  until "${@:2}" >/dev/null 2>&1; do
    if ((SECONDS >= end)); then lab_say "gave up after $1 s: ${*:2}"; return 1; fi
    sleep 0.05
  done
}

# Stops one process that lab_spawn started, by its id; returns when it is gone.
lab_stop() {
  kill "$1" 2>/dev/null
  local tries=400 # × 50 ms: a program that writes its last reports on a busy machine
  while ((tries-- > 0)) && kill -0 "$1" 2>/dev/null; do sleep 0.05; done
  kill -9 "$1" 2>/dev/null
  return 0
}

# Processes below $1, at any depth.
lab_descendants() {
  local child
  for child in $(cat /proc/"$1"/task/*/children 2>/dev/null); do echo "$child"; lab_descendants "$child"; done
}

# lab_accounts ROW: the persons' accounts for that row of the policy, by the kernel's own tables: uid → bytes charged,
# refused, spent; null where they are not pinned. (`weir status` tells the fullest 64.)
lab_accounts() {
  local maps number
  maps=$(echo "$LAB"/bpf/weir/*/maps)
  [[ -e $maps/accounts ]] || { echo null; return; }
  number=$(bpftool -j map lookup pinned "$maps/limits" key "$1" 0 0 0 2>/dev/null | jq .formatted.value.account)
  bpftool -j map dump pinned "$maps/accounts" 2>/dev/null | jq -c --argjson number "${number:-0}" \
    '[.[].formatted | select(.key.limit == $number and .key.per == 2) | {key: "\(.key.who)", value: .value | {charged, refused, spent: .word}}] | from_entries' |
    grep . || echo null
}
# lab_charged ROW PERSON: bytes charged there so far.
lab_charged() { lab_accounts "$1" | jq --arg uid "${LAB_PEOPLE[$2]}" '.[$uid].charged // 0'; }

# The count at the receiver's end of the wire (wire.py), and a TLS receiver that reads what it can.
lab_start_receiver() {
  rm -f "$LAB/wire.json" "$LAB/received.json"
  lab_spawn outside wire python3 "$lab_here/wire.py" --device desk --out "$LAB/wire.json"
  LAB_WIRE=$LAB_PID
  lab_spawn outside receiver python3 "$lab_here/receiver.py" --cert "$LAB/ca/server.pem" \
    --key "$LAB/ca/server.key" --listen "$LAB_STORAGE" --listen "$LAB_STORAGE6" --out "$LAB/received.json"
  LAB_RECEIVER=$LAB_PID
  lab_wait_for 15 test -s "$LAB/wire.json" -a -s "$LAB/received.json"
}

lab_stop_receiver() {
  sleep 0.6 # what is still on the way
  lab_stop "$LAB_RECEIVER"
  lab_stop "$LAB_WIRE"
}

# TCP payload bytes that arrived at the storage service, retransmissions once.
lab_wire_bytes() { jq --arg a "$LAB_STORAGE" --arg b "$LAB_STORAGE6" '(.to[$a].tcp // 0) + (.to[$b].tcp // 0)' "$LAB/wire.json"; }
lab_wire_dropped() { jq .dropped "$LAB/wire.json"; }
# Different customers whose whole row the receiver could read.
lab_customers() { jq .customers "$LAB/received.json"; }

# lab_start_web FOLDER [RATE]: nginx with `pages/` and the file `big` over TLS, the file at that rate.
lab_start_web() {
  cat >"$LAB/nginx.conf" <<CONF
daemon off; master_process off; pid $LAB/nginx.pid; error_log $LAB/log/nginx-error;
worker_rlimit_nofile 4096;
events { worker_connections 1024; }
http {
  access_log off; client_body_temp_path $LAB/www/body; proxy_temp_path $LAB/www/proxy;
  fastcgi_temp_path $LAB/www/fastcgi; uwsgi_temp_path $LAB/www/uwsgi; scgi_temp_path $LAB/www/scgi;
  sendfile on; default_type text/html;
  ssl_certificate $LAB/ca/server.pem; ssl_certificate_key $LAB/ca/server.key;
  server { listen $LAB_PAGES:443 ssl; root $1/pages; }
  server { listen $LAB_MIRROR:443 ssl; root $1; limit_rate ${2:-0}; }
}
CONF
  lab_spawn outside nginx nginx -e "$LAB/log/nginx-start" -c "$LAB/nginx.conf"
  lab_wait_for 10 lab_net desk curl -sfo /dev/null https://www.example-press.com/0.html
}
