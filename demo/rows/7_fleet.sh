# Row 7: a fleet. A collector with nothing set up, two desks that enrol by a token each; a report as it
# happens, a policy that approves the place and is taken back, and kills in the middle of it all.
# shellcheck shell=bash disable=SC2154

FLEET=${WEIR_FLEET:-$(dirname "$WEIR")} # where weir-collector and weirctl stand
readonly FLEET PASSES_S=5               # from the publishing command's end until the upload passes whole
readonly CAUGHT_UP_S=60                 # restart, reconnect with backoff and catch-up on a busy machine
declare -A fleet_agent=()
fleet_collector=0

# ---- two desks and a collector

# A second desk of the same kind; IPv4 alone.
second_desk_up() {
  lab_holder desk2
  lab_net desk2 ip link set lo up
  # shellcheck disable=SC2153
  lab_net outside ip link add desk2 type veth peer name eth0 netns "$LAB_NS_desk2"
  lab_net outside ip addr add 10.21.0.1/24 dev desk2
  lab_net outside ip link set desk2 up
  lab_net desk2 ip addr add 10.21.0.10/24 dev eth0
  lab_net desk2 ip link set eth0 up
  lab_net desk2 ip route add default via 10.21.0.1
  mkdir -p "$LAB_CG/desk2"
}

# The company's resolver serves two desks and the collector here: it is no program of desk 1.
resolver_moves_out() {
  lab_stop "$LAB_RESOLVER_PID"
  lab_start_resolver
  lab_wait_for 5 lab_net desk2 getent ahostsv4 $LAB_COLLECTOR_NAME
}

# on DESK COMMAND…: what the lab does on its desk, on desk 1 or 2.
on() {
  if [[ $1 == 1 ]]; then "${@:2}"; else LAB_DESK_CG=$LAB_CG/desk2 LAB_NS_desk=$LAB_NS_desk2 "${@:2}"; fi
}

collector_ready() { grep -qw ready "$LAB/log/collector"; }
start_collector() {
  lab_spawn outside collector "$FLEET/weir-collector" serve --data "$LAB/state/collector" \
    --listen $LAB_COLLECTOR:9443 --console $LAB_COLLECTOR:8443 --name $LAB_COLLECTOR_NAME
  fleet_collector=$LAB_PID
  lab_wait_for $READY_S collector_ready
}

ctl() { lab_net outside "$FLEET/weirctl" "$@" --config "$LAB/state/collector/admin.json" 2>>"$LAB/log/weirctl"; }

enrol_desk() {
  ctl tokens create >"$LAB/token$1" &&
    on "$1" lab_net desk "$WEIR" enroll --token-file "$LAB/token$1" --state "$LAB/state/fleet$1" >>"$LAB/log/enroll" 2>&1
}

agent_ready() { grep -qw ready "$LAB/log/weir-fleet$1" || ! kill -0 "${fleet_agent[$1]}"; }
start_agent() {
  local desk=desk cgroup=$LAB_DESK_CG
  if [[ $1 == 2 ]]; then desk=desk2 cgroup=$LAB_CG/desk2; fi
  cat "$LAB/log/weir-fleet$1" >>"$LAB/log/weir-fleet$1-before" 2>/dev/null
  lab_spawn $desk "weir-fleet$1" "$WEIR" run --collector $LAB_COLLECTOR_NAME:9443 --cgroup "$cgroup" \
    --pin "$LAB/bpf/fleet$1" --state "$LAB/state/fleet$1" --format json
  fleet_agent[$1]=$LAB_PID
  lab_wait_for $READY_S agent_ready "$1" && kill -0 "${fleet_agent[$1]}" 2>/dev/null
}

# fleet_policy NAME APPROVED: uploads are bounded but for what is approved.
fleet_policy() {
  cat >"$LAB/$1.yaml" <<YAML
apiVersion: weir/v1
name: $1
mode: enforce
on_exit: keep
networks: {office: {interface: eth0}}
resolvers: [{address: $LAB_RESOLVER, via: office}]
${2:+destinations: {approved: [$2]\}}
rules:
  - id: cloud-by-the-day
    when: {upload_to: [cloud_storage], destination: {not: approved}}
    then: {limit: {bytes: 256KiB, window: 24h, per: person}, severity: high}
YAML
}

# What came of a policy that was published with --wait, in one line.
effective() { ctl policy status -o json | jq -r '"\(.desired // 0): \(.effective // 0) have it, \(.refused // 0) refused it, \(.pending // 0) wait"'; }
both_have() {
  local now
  now=$(effective)
  holds "both desks have the policy ($now)" same "$now" "$1"
}

# ---- uploads

# A store that keeps what it gets, so that it can be compared.
start_keeper() {
  mkdir -p "$LAB/kept/tmp"
  cat >"$LAB/kept.conf" <<CONF
daemon off; master_process off; pid $LAB/kept.pid; error_log $LAB/log/keeper;
events { worker_connections 256; }
http {
  access_log off; client_body_temp_path $LAB/kept/tmp; proxy_temp_path $LAB/kept/tmp/p;
  fastcgi_temp_path $LAB/kept/tmp/f; uwsgi_temp_path $LAB/kept/tmp/u; scgi_temp_path $LAB/kept/tmp/s;
  client_max_body_size 0; dav_methods PUT;
  ssl_certificate $LAB/ca/server.pem; ssl_certificate_key $LAB/ca/server.key;
  server { listen $LAB_STORAGE:443 ssl; listen [$LAB_STORAGE6]:443 ssl; root $LAB/kept; }
}
CONF
  lab_spawn outside keeper nginx -e "$LAB/log/keeper" -c "$LAB/kept.conf"
  lab_wait_for 10 lab_net outside curl -sk -o /dev/null "https://$LAB_STORAGE/"
}

# fleet_upload DESK PERSON [OPTIONS of curl…]: the customer list, at most 10 s.
fleet_upload() {
  on "$1" lab_as "$2" curl -sS -o /dev/null -m 10 -T "$LAB/customers.csv" "${@:3}" \
    "https://content.dropboxapi.com/$1-$2" 2>>"$LAB/log/fleet-upload"
}
wire2_bytes() { jq --arg a "$LAB_STORAGE" '.to[$a].tcp // 0' "$LAB/wire2.json"; }
arrived2() { (($(wire2_bytes) >= $1)); }
start_wire2() {
  lab_spawn outside wire2 python3 "$lab_here/wire.py" --device desk2 --out "$LAB/wire2.json"
  wire2=$LAB_PID
  lab_wait_for 15 test -s "$LAB/wire2.json"
}

# ---- reports

# `weirctl reports watch`, each line with the time it was printed.
start_watch() {
  # shellcheck disable=SC2016
  lab_spawn outside watch bash -c 'out=$1; shift; "$@" | while IFS= read -r line; do printf "{\"printed\":%s,\"report\":%s}\n" "$EPOCHREALTIME" "$line"; done >"$out"' \
    watch "$LAB/watched.jsonl" "$FLEET/weirctl" reports watch -o json --config "$LAB/state/collector/admin.json"
  fleet_watch=$LAB_PID
}
# When the first enforced report of a person was printed; nothing if there is none.
printed_at() {
  jq -rs --argjson uid "${LAB_PEOPLE[$1]}" '[.[] | select(.report.actor.person.user.uid == $uid and .report.decision.rule == "cloud-by-the-day" and .report.destination.service == "dropbox")][0].printed // empty' "$LAB/watched.jsonl" | grep .
}

# The reports that desk $1 holds, and those that the collector lists of it: id and last revision.
held_by() { jq -c '{id, revision}' "$LAB/state/fleet$1/reports.jsonl" | jq -cs 'group_by(.id) | map(max_by(.revision)) | .[]'; }
listed_of() {
  ctl reports list --limit 100000 -o json --host "$(jq -r .hostId "$LAB/state/fleet$1/identity/host.json")" |
    jq -c '{id, revision}' | jq -cs 'sort_by(.id) | .[]'
}
lines_of() { cat "$LAB/$1.jsonl" 2>/dev/null | wc -l; }
# Not a row twice, not one missing, not one that no desk holds.
each_is_there_once() {
  local desk
  for desk in 1 2; do held_by $desk >"$LAB/held$desk"; listed_of $desk >"$LAB/listed$desk"; done
  cat "$LAB"/held[12] >"$LAB/held.jsonl"
  cat "$LAB"/listed[12] >"$LAB/listed.jsonl"
  [[ -s $LAB/held1 && -s $LAB/held2 ]] && cmp -s "$LAB/held1" "$LAB/listed1" && cmp -s "$LAB/held2" "$LAB/listed2"
}

# How often a report's revision stands in the store more than once. The list shows the last one alone, so
# that it could not tell.
doubled_in_store() {
  python3 - "$LAB/state/collector" <<'PYTHON'
import collections, pathlib, sqlite3, sys
seen = collections.Counter()
for path in pathlib.Path(sys.argv[1]).rglob("*.db"):
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
        if db.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'reports'").fetchone():
            seen.update(db.execute("SELECT host, id, revision FROM reports").fetchall())
print(sum(n - 1 for n in seen.values()) if seen else "no store")
print(len(seen), "revisions stored", file=sys.stderr)
PYTHON
}

# ---- the row

fleet_starts() {
  start_collector || failed+=("the collector starts with nothing set up")
  local desk
  for desk in 1 2; do
    enrol_desk $desk || failed+=("desk $desk enrols by its token")
    start_agent $desk || failed+=("weir run gets ready on desk $desk")
  done
  fleet_policy bounded ""
  fleet_policy approved "{service: dropbox}"
  start_watch
  ctl policy publish --wait "$LAB/bounded.yaml" >>"$LAB/log/policies" || failed+=("the first policy is published")
  both_have "1: 2 have it, 0 refused it, 0 wait"
}

fleet_upload_is_seen() {
  local began
  began=$(now)
  fleet_upload 1 lin
  lab_wait_for 10 printed_at lin
  seen=$(awk -v a="$began" -v b="$(printed_at lin)" 'BEGIN {if (b == "") print "-"; else printf "%.1f", b - a}')
  sleep 0.3
  first=$(lab_wire_bytes)
  customers_fleet=$(lab_customers)
  holds "at most $LIMIT bytes arrive ($first)" between "$first" $((LIMIT / 2 - SLACK)) $LIMIT
  holds "its report shows while it happens (after $seen s)" between "${seen%.*}" 0 $((PROMPT_S - 1))
}

# From the end of the publishing command until the same upload, tried again and again, passed whole.
fleet_approves() {
  lab_stop "$LAB_RECEIVER"
  start_keeper
  local began
  ctl policy publish "$LAB/approved.yaml" || failed+=("the second policy is published")
  began=$(now)
  passes=-
  while [[ $(since "$began") < "$((PASSES_S + 5))" ]]; do
    rm -f "$LAB/kept/1-lin"
    if fleet_upload 1 lin && cmp -s "$LAB/customers.csv" "$LAB/kept/1-lin"; then passes=$(since "$began"); break; fi
    sleep 0.05
  done
  holds "what is approved passes whole within $PASSES_S s (took $passes)" between "${passes%.*}" 0 $((PASSES_S - 1))
}

fleet_takes_back() {
  ctl policy rollback --wait >>"$LAB/log/policies" || failed+=("the first policy is published back")
  both_have "3: 2 have it, 0 refused it, 0 wait"
  sleep 0.3
  local before
  before=$(lab_wire_bytes)
  fleet_upload 1 lin
  sleep 0.3
  again=$(($(lab_wire_bytes) - before))
  holds "the same upload gets at most what is left of the account ($again)" between "$again" 0 $((LIMIT - first))
}

# One desk's whole agent and the collector die while people of both desks upload.
fleet_is_killed() {
  local before uploads=() person pid killed=
  before=$(wire2_bytes)
  fleet_upload 2 wang --limit-rate $SLOW &
  uploads+=($!)
  for person in chen zhao; do
    fleet_upload 1 $person & uploads+=($!)
    fleet_upload 2 $person & uploads+=($!)
  done
  lab_wait_for 15 arrived2 $((before + KILL_AT))
  for pid in $(lab_descendants "${fleet_agent[2]}"); do killed+="$(cat "/proc/$pid/comm" 2>/dev/null) "; done
  # shellcheck disable=SC2046
  kill -9 "$fleet_collector" "${fleet_agent[2]}" $(lab_descendants "${fleet_agent[2]}") 2>/dev/null
  for pid in weir-guard weir-engine weir-uplink; do
    holds "$pid of desk 2 was there to be killed ($killed)" grep -qw -- $pid <<<"$killed"
  done
  fleet_upload 1 smith # while there is no collector
  wait "${uploads[@]}"
  start_collector || failed+=("the collector starts again")
  start_agent 2 || failed+=("weir run starts again on desk 2")
  fleet_upload 2 wang -m 5
  fleet_upload 2 smith
  holds "what desk 2's people sent beside its dead agent is bounded ($(($(wire2_bytes) - before)))" \
    between $(($(wire2_bytes) - before)) 1 $((4 * LIMIT))
  once=no
  # Desks that hold none, or were never enrolled, have nothing to wait for, and nothing to show.
  if [[ -s $LAB/state/fleet1/reports.jsonl && -s $LAB/state/fleet1/identity/host.json ]] &&
    lab_wait_for $CAUGHT_UP_S each_is_there_once; then once=yes; fi
  holds "every report of the desks is listed once ($(lines_of held) held, $(lines_of listed) listed)" same $once yes
}

row_fleet() {
  lab_say "7: a collector, two desks enrolled by token, a policy published and taken back, kills in the middle"
  local seen=- first=0 customers_fleet='' passes=- again=- once=no fleet_watch=0 wire2=0
  second_desk_up
  resolver_moves_out
  lab_start_receiver
  start_wire2
  fleet_starts
  fleet_upload_is_seen
  fleet_approves
  fleet_takes_back
  fleet_is_killed
  lab_stop "$fleet_watch"
  local desk
  for desk in 1 2; do
    lab_stop "${fleet_agent[$desk]}"
    "$WEIR" release --pin "$LAB/bpf/fleet$desk" >>"$LAB/log/weir-fleet$desk" 2>&1
  done
  lab_stop "$fleet_collector"
  local doubled
  doubled=$(doubled_in_store 2>>"$LAB/log/store")
  holds "no revision of a report is stored twice ($doubled)" same "$doubled" 0
  [[ $doubled == 0 ]] || once=no
  lab_stop "$wire2"
  lab_stop "$LAB_WIRE"
  holds "the wire's count is whole" same "$(lab_wire_dropped)" 0
  write_row 7 bytes="$first" customers="$customers_fleet" seen="$seen" passes="$passes" again="$again" \
    reports="$(lines_of held)" once=$once
}
