# Row 1: a command under `weir exec`.
# shellcheck shell=bash disable=SC2154
row_exec() {
  lab_say "1: weir exec --limit 256KiB -- curl, uploading $customers_total customers"
  local began status seconds curl_error bytes
  lab_start_receiver
  began=$(now)
  # shellcheck disable=SC2046
  (
    echo $BASHPID >"$LAB_CG/outside/cgroup.procs"
    exec nsenter "--net=/proc/$LAB_NS_desk/ns/net" -- timeout 90 "$WEIR" exec --limit 256KiB \
      --cgroup "$LAB_DESK_CG" -- $(upload_command "$LAB/customers.csv")
  ) >"$LAB/log/exec.out" 2>"$LAB/log/exec.err"
  status=$?
  seconds=$(since "$began")
  lab_stop_receiver
  bytes=$(lab_wire_bytes)
  curl_error=$(grep -oE 'curl: \([0-9]+\)' "$LAB"/log/exec.{out,err} | grep -oE '[0-9]+' | tail -1)
  holds "at most $LIMIT bytes arrive (arrived: $bytes)" between "$bytes" 0 $LIMIT
  holds "at least $((LIMIT - SLACK)) bytes arrive (arrived: $bytes)" between "$bytes" $((LIMIT - SLACK)) 999999999999
  holds "the wire's count is whole" same "$(lab_wire_dropped)" 0
  holds "curl hears of it (curl's error: ${curl_error:-none})" between "${curl_error:-0}" 1 99
  holds "within $PROMPT_S s (took $seconds)" between "${seconds%.*}" 0 $((PROMPT_S - 1))
  holds "exit 3 (was $status)" same $status 3
  write_row 1 bytes="$bytes" customers="$(lab_customers)" total="$customers_total" seconds="$seconds" \
    exit=$status error="${curl_error:-0}"
}
