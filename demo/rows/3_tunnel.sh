# Row 3: iodine through the company's resolver. Payload is what comes out of the server's tun device.
# shellcheck shell=bash disable=SC2154
readonly TUNNEL_TRY_S=25     # seconds the tunnel's user keeps trying
readonly TUNNEL_STOPPED_S=5  # seconds without a byte of payload at the end: stopped

tunnel_payload() { lab_net outside ip -s -j link show dns0 | jq '.[0].stats64.rx.bytes'; }
now_ms() { date +%s%3N; }

# Sends through the tunnel as soon as it stands, as fast as iodine takes it, for TUNNEL_TRY_S.
tunnel_client() {
  # shellcheck disable=SC2016
  lab_as_root zhao timeout $((TUNNEL_TRY_S + 5)) bash -c '
    iodine -f -r -P lab "$1" "$2" & 
    exec python3 "$3" "$4" 10.99.0.1' start $LAB_RESOLVER $LAB_TUNNEL_DOMAIN "$lab_here/datagrams.py" $TUNNEL_TRY_S
} >"$LAB/log/iodine" 2>&1

# lookups_as PERSON COUNT: that many lookups of names of the press, one each 100 ms; prints the answered.
lookups_as() {
  # shellcheck disable=SC2016
  lab_as "$1" bash -c 'n=0; for ((i = 0; i < $0; i++)); do
    getent ahostsv4 press-$((i % 10)).example-press.com >/dev/null && n=$((n + 1)); sleep 0.1; done; echo $n' "$2"
}

row_tunnel() {
  lab_say "3: iodine through the resolver"
  local began last=0 last_ms payload asked=60 answered other end
  lab_spawn outside iodined iodined -f -c -P lab -l $LAB_TUNNEL_SERVER 10.99.0.1/24 $LAB_TUNNEL_DOMAIN
  local server=$LAB_PID
  lab_wait_for 5 tunnel_payload
  began=$(now_ms)
  last_ms=$began
  tunnel_client &
  local client=$!
  end=$((began + (TUNNEL_TRY_S - TUNNEL_STOPPED_S - 2) * 1000))
  while (($(now_ms) < end)); do watch_payload; sleep 0.1; done
  # Now, with the tunnel still trying: other people, and the same person's other programs.
  lookups_as smith $((asked / 2)) >"$LAB/lookups.smith" &
  other=$!
  lookups_as zhao $((asked / 2)) >"$LAB/lookups.zhao"
  wait $other
  end=$((end + TUNNEL_STOPPED_S * 1000))
  while (($(now_ms) < end)); do watch_payload; sleep 0.1; done
  watch_payload
  kill -0 $client 2>/dev/null
  holds "the tunnel's user still tries at the end" same $? 0
  answered=$(($(cat "$LAB/lookups.smith") + $(cat "$LAB/lookups.zhao")))
  holds "nothing crosses any more (last payload $(((end - last_ms) / 1000)) s before the end)" \
    between $((end - last_ms)) $((TUNNEL_STOPPED_S * 1000)) 999999999
  holds "all other lookups are answered ($answered of $asked)" same $answered $asked
  row3=(payload="$last" seconds="$(awk -v ms=$((last_ms - began)) 'BEGIN {printf "%.1f", ms / 1000}')"
    lookups=$answered asked=$asked)
  row3_failed=("${failed[@]}")
  failed=()
  wait $client 2>/dev/null
  lab_stop "$server"
}

watch_payload() {
  payload=$(tunnel_payload)
  if [[ $payload != "$last" ]]; then last=$payload; last_ms=$(now_ms); fi
}

judge_tunnel() {
  local report said
  failed=("${row3_failed[@]}")
  report=$(reports_of "$LAB/desk.jsonl" | jq -c --arg zone $LAB_TUNNEL_ZONE --argjson uid "${LAB_PEOPLE[zhao]}" \
    'select(.finding.detector == "dns_tunnel" and .destination.zone == $zone and .actor.person.user.uid == $uid)' | head -1)
  said=$(jq -r '[.finding.detector, .destination.zone, (.actor.program | split("/") | last), .decision.action] | join(", ")' <<<"${report:-null}" 2>/dev/null)
  holds "a report names dns_tunnel, the zone $LAB_TUNNEL_ZONE and blocks it (${said:-no report})" \
    jq -e '.decision.action == "block" and .decision.enforced' <<<"${report:-null}"
  write_row 3 "${row3[@]}" report="${said:-none}"
} >/dev/null 2>&1
