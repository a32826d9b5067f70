# Rows 2, 3, 4 and 6 stand under one `weir run`: an upload, a crowd, a tunnel, honest work beside them,
# and afterwards the replay of what was recorded.
# shellcheck shell=bash disable=SC2154

readonly READY_S=30 # verifying the kernel part's programs on a busy machine

weir_ready() { grep -qw ready "$1" || ! kill -0 "$weir_pid"; }

# start_weir NAME [OPTIONS…]: `weir run` on the desk, pinned below bpf/NAME. Reports in NAME.jsonl.
start_weir() {
  local name=$1
  # shellcheck disable=SC2016
  lab_spawn desk "weir-$name" bash -c 'out=$1; shift; exec "$@" >"$out"' start "$LAB/$name.jsonl" \
    "$WEIR" run --policy "$demo_here/demo.yaml" --cgroup "$LAB_DESK_CG" \
    --pin "$LAB/bpf/$name" --state "$LAB/state/$name" --format json "${@:2}"
  weir_pid=$LAB_PID
  lab_wait_for $READY_S weir_ready "$LAB/log/weir-$name" && kill -0 "$weir_pid" 2>/dev/null
}

# Ends `weir run`; what it pinned goes by `weir release`, as on_exit is keep.
stop_weir() {
  lab_stop "$weir_pid"
  [[ ${2:-release} == keep ]] || "$WEIR" release --pin "$LAB/bpf/$1" >>"$LAB/log/weir-$1" 2>&1
}

# upload_as PERSON [OPTIONS of curl…]: one upload of the list; at most 20 s.
upload_as() {
  lab_as "$1" curl -sS -o /dev/null -m 20 -X POST -T "$LAB/customers.csv" "${@:2}" \
    -H 'Content-Type: application/octet-stream' https://content.dropboxapi.com/2/files/upload
}

# crowd_as PERSON: 100 connections of one process and 60 processes, all at once, for at most 8 s.
crowd_as() {
  local i
  for ((i = 0; i < 100; i++)); do
    printf 'url=https://content.dropboxapi.com/2/files/upload\nupload-file=%s\nrequest=POST\noutput=/dev/null\n' "$LAB/customers.csv"
  done >"$LAB/crowd.conf"
  lab_as "$1" curl -s -m 8 -Z --parallel-max 100 --parallel-immediate -K "$LAB/crowd.conf" &
  local flows=$!
  # shellcheck disable=SC2016
  lab_as "$1" bash -c 'for i in {1..60}; do curl -s -o /dev/null -m 8 -X POST -T "$0" https://content.dropboxapi.com/2/files/upload & done; wait' \
    "$LAB/customers.csv" &
  wait $flows $!
} 2>/dev/null

# The account of person lin in `weir run`'s reports: last revision of each, oldest first.
reports_of() { jq -cs '[.[] | select(.decision)] | group_by(.id) | map(max_by(.revision)) | sort_by(.time) | .[]' "$1"; }

row_person() {
  lab_say "2: the same by a person under weir run, then 100 connections and 60 processes at once"
  local first crowd fresh status began seconds
  lab_start_receiver
  began=$(now)
  upload_as lin 2>"$LAB/log/upload"
  status=$?
  seconds=$(since "$began")
  sleep 0.3
  first=$(lab_wire_bytes)
  customers_lin=$(lab_customers)
  crowd_as lin
  sleep 0.3
  crowd=$(($(lab_wire_bytes) - first))
  crowd_as wang
  lab_stop_receiver
  fresh=$(($(lab_wire_bytes) - first - crowd))
  holds "at most $LIMIT bytes of one person arrive ($((first + crowd)))" between $((first + crowd)) 0 $LIMIT
  holds "at least $((LIMIT / 2 - SLACK)) bytes arrive ($first)" between "$first" $((LIMIT / 2 - SLACK)) 999999999999
  holds "at most $LIMIT bytes of another person's crowd ($fresh)" between "$fresh" $((LIMIT / 2 - SLACK)) $LIMIT
  holds "the wire's count is whole" same "$(lab_wire_dropped)" 0
  holds "curl hears of it (curl's error: $status)" between "$status" 1 99
  holds "within $PROMPT_S s (took $seconds)" between "${seconds%.*}" 0 $((PROMPT_S - 1))
  row2=(bytes="$first" customers="$customers_lin" crowd="$crowd" fresh="$fresh" person=lin fresh_person=wang)
  row2_failed=("${failed[@]}")
  failed=()
}

# After `weir run` ended: does its report name person, program, service, bytes and rule?
judge_person() {
  local report said
  failed=("${row2_failed[@]}")
  report=$(reports_of "$LAB/desk.jsonl" | jq -c --argjson uid "${LAB_PEOPLE[lin]}" 'select(.decision.rule == "cloud-by-the-day" and (.actor.person.user.uid == $uid))' | head -1)
  said=$(jq -r '[(if .actor.person.name != "" then .actor.person.name else .actor.person.user.uid end), (.actor.program | split("/") | last), .destination.service, .bytesOut, .decision.rule] | map(tostring) | join(", ")' <<<"${report:-null}" 2>/dev/null)
  holds "a report names the person, the program curl, the service dropbox and the rule (${said:-no report})" \
    jq -e '(.actor.program | test("(^|/)curl$")) and .destination.service == "dropbox" and .decision.action == "limit"' <<<"${report:-null}"
  holds "its bytes are at least what arrived" jq -e --argjson got "${row2[0]#bytes=}" '(.bytesOut | tonumber) >= $got' <<<"${report:-null}"
  write_row 2 "${row2[@]}" report="${said:-none}"
} >/dev/null 2>&1

desk_under_policy() {
  if wants 4; then
    lab_start_web "$(web_content)" $BIG_RATE
    errand_as smith plain
  fi
  if ! start_weir desk --record "$LAB/events.log"; then
    lab_say "weir run did not get ready:"; cat "$LAB/log/weir-desk" >&2
    failed=("weir run gets ready")
    local n
    for n in 2 3 4 6; do if wants $n; then failed=("weir run gets ready"); write_row $n; fi; done
    stop_weir desk
    return
  fi
  if wants 4; then errand_as lin guarded & errand_pid=$!; sleep 1; fi
  if wants 2; then row_person; elif wants 6; then lab_start_receiver; upload_as lin; lab_stop_receiver; fi
  if wants 3; then row_tunnel; fi
  if wants 4; then wait "$errand_pid"; row_untouched; fi
  stop_weir desk
  if wants 2; then judge_person; fi
  if wants 3; then judge_tunnel; fi
  if wants 6; then row_replay; fi
}
