# Row 5: guard and engine killed with -9 in the middle of an upload. The kernel holds the bound: the upload
# goes on as far as the disk vouches for (docs/decisions/0030). A new `weir run` adopts what is pinned and
# gives the rest of the same account.
# shellcheck shell=bash disable=SC2154
readonly KILL_AT=$((32 * 1024)) # bytes that arrived when guard and engine are killed
readonly KILLS=${WEIR_DEMO_KILLS:-1} # the soak kills more often, in the same account
readonly SLOW=40k               # bytes a second of that upload: about three seconds to the account's end

kill_programs() {
  local pid pids names=()
  mapfile -t pids < <(lab_descendants "$weir_pid")
  for pid in "${pids[@]}"; do names+=("$(cat "/proc/$pid/comm" 2>/dev/null)"); done # first: the spawner's end is the engine's
  for pid in "${pids[@]}"; do kill -9 "$pid" 2>/dev/null; done
  echo "killed: ${names[*]}" >>"$LAB/log/killed"
  holds "guard and engine were there to be killed (${names[*]})" grep -q 'weir-guard.*weir-engine\|weir-engine.*weir-guard' <<<"${names[*]}"
}

programs_run() { lab_descendants "$weir_pid" | sed 's:.*:/proc/&/comm:' | xargs cat | grep -q weir-engine; }

# Once more under traffic, with the supervisor there, which starts both again.
kill_again() {
  lab_wait_for $READY_S programs_run
  upload_as chen -m 5 2>/dev/null &
  local upload=$!
  sleep 0.5
  kill_programs
  upload_as chen -m 3 2>/dev/null
  wait $upload
}

arrived() { (($(lab_wire_bytes) >= $1)); }

row_killed() {
  lab_say "5: guard and engine killed with -9 during an upload; then started again"
  local at_kill before_restart total
  lab_start_receiver
  start_weir kept --no-restart || failed+=("weir run gets ready")
  upload_as chen --limit-rate $SLOW -m 15 2>"$LAB/log/upload-killed" &
  local upload=$!
  lab_wait_for 15 arrived $KILL_AT
  kill_programs
  sleep 0.2
  at_kill=$(lab_wire_bytes)
  upload_as chen -m 5 2>/dev/null # beside the first, as fast as it can, with nobody there to watch
  wait $upload
  crowd_as chen
  sleep 0.3
  before_restart=$(lab_wire_bytes)
  stop_weir kept keep
  start_weir kept || failed+=("weir run starts again on what is pinned")
  upload_as chen -m 5 2>/dev/null
  crowd_as chen
  local kills
  for ((kills = 1; kills < KILLS; kills++)); do kill_again; done
  lab_stop_receiver
  total=$(lab_wire_bytes)
  stop_weir kept
  holds "at most $LIMIT bytes of one person arrive ($total)" between "$total" 0 $LIMIT
  holds "the upload went on after the kill ($((before_restart - at_kill)) bytes)" between $((before_restart - at_kill)) 1 999999999999
  holds "one account before and after: what may leave at once, and its refill ($total bytes)" \
    between "$total" $((LIMIT / 2 - SLACK)) $((LIMIT / 2 + 8 * 1024))
  holds "the wire's count is whole" same "$(lab_wire_dropped)" 0
  holds "weir release leaves no pin" same "$(find "$LAB/bpf/kept" -type f 2>/dev/null | wc -l)" 0
  write_row 5 bytes="$total" customers="$(lab_customers)" after=$((before_restart - at_kill)) again=$((total - before_restart)) kills="$kills"
}
