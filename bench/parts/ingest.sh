# Records that the collector has committed, of 100 hosts at once, beside bare SQLite in the same run;
# then reports over its door, beside a bare gRPC server and rsyslog.
# shellcheck shell=bash disable=SC2154
readonly INGEST_RUNS=3 INGEST_HOSTS=100 INGEST_RECORDS=400000

bench_ingest() {
  local folder=$root/build/bench-ingest out=$root/build/bench-ingest.txt kind
  mkdir -p "$folder"
  : >"$out"
  for ((run = 0; run < INGEST_RUNS; ++run)); do
    "$bin/bench_ingest" "$folder" "$INGEST_RECORDS" >>"$out" || { result ingest "bench_ingest" "" note="failed"; return; }
  done
  rmdir "$folder"
  for kind in reports telemetry; do
    result ingest "bare SQLite, $kind" "$(awk -v k="$kind" '$1 == k {print $8}' "$out" | median)" unit="records/s" group="$kind" base=yes \
      note="$(awk -v k="$kind" '$1 == k {print $9}' "$out" | median) us CPU each"
    result ingest "collector's store, $kind" "$(awk -v k="$kind" '$1 == k {print $5}' "$out" | median)" unit="records/s" group="$kind" \
      note="$(awk -v k="$kind" '$1 == k {print $6}' "$out" | median) us CPU each; parsed, hashed, indexed"
  done
  bench_ingest_doors
}

# path_line NAME NOTE [key=value]…: of the lines "NAME RECORDS/s CPU-US-EACH" in $out.
path_line() {
  result ingest "$1" "$(awk -v n="$1" -F'\t' '$1 == n {print $2}' "$out" | median)" unit="reports/s" group=path "${@:3}" \
    note="$(awk -v n="$1" -F'\t' '$1 == n {print $3}' "$out" | median) us CPU of the server each; $2"
}

bench_ingest_doors() {
  local folder out=$root/build/bench-doors.txt syslog=no
  folder=$(mktemp -d "$root/build/bench-doors.XXXXXX")
  [[ -x $(command -v rsyslogd) ]] && syslog=yes
  : >"$out"
  exec 7<>"$(mkfifo "$folder/bare"; echo "$folder/bare")" 8<>"$(mkfifo "$folder/in"; echo "$folder/in")"
  for ((run = 0; run < INGEST_RUNS; ++run)); do
    rm -rf "$folder/data"
    "$bin/bench_agents" prepare "$folder/data" "$INGEST_HOSTS" "$folder/fleet"
    load_bare "$folder" >>"$out"
    load_collector "$folder" >>"$out"
    if [[ $syslog == yes ]]; then load_syslog "$folder" >>"$out"; fi
  done
  exec 7>&- 8>&-
  rm -r "$folder"
  path_line "bare gRPC over mTLS" "decoded, acknowledged, forgotten" base=yes
  path_line "weir-collector over mTLS" "committed, then acknowledged"
  if [[ $syslog == yes ]]; then
    path_line "rsyslog, imtcp to omfile" "no TLS, no commit (fsync), no acknowledgement, no search"
  else
    result ingest "rsyslog, imtcp to omfile" "" group=path note="left out: not installed"
  fi
}

# load FOLDER NAME PID PORT: 100 hosts send until the server PID has acknowledged all.
load() {
  local before runner
  : >"$1/out"
  timeout $((AGENTS_WAIT_S * 2)) "$bin/bench_agents" load "$1/fleet" "$4" "$INGEST_RECORDS" <"$1/in" >"$1/out" 2>>"$1/log" &
  runner=$!
  appears '^connected' "$1/out"
  before=$(seconds_of_cpu "$3")
  echo >&8
  appears '^acknowledged' "$1/out"
  awk -v name="$2" -v cpu="$(seconds_of_cpu "$3")" -v before="$before" '/^acknowledged/ {
    printf "%s\t%d\t%.2f\n", name, $3, (cpu - before) * 1e6 / $2}' "$1/out"
  echo >&8
  wait "$runner"
}

load_bare() {
  local pid
  : >"$1/bare.out"
  "$bin/bench_agents" bare "$1/fleet" <"$1/bare" >"$1/bare.out" &
  pid=$!
  appears . "$1/bare.out"
  load "$1" "bare gRPC over mTLS" "$pid" "$(head -1 "$1/bare.out")"
  kill "$pid"
}

load_collector() {
  local pid
  : >"$1/serve.log"
  "$bin/weir-collector" serve --data "$1/data" --listen 127.0.0.1:0 --console 127.0.0.1:0 2>"$1/serve.log" &
  pid=$!
  appears '^ready' "$1/serve.log"
  load "$1" "weir-collector over mTLS" "$pid" "$(sed -n 's/.*agents: 127.0.0.1:\([0-9]*\);.*/\1/p' "$1/serve.log")"
  kill "$pid"
  wait "$pid"
}

# The same number of messages of a report's size, from as many connections, until they are in the file.
load_syslog() {
  local pid syslog=$1/syslog
  mkdir -p "$syslog"
  cat >"$syslog/conf" <<CONF
global(workDirectory="$syslog" maxMessageSize="8k")
module(load="imtcp")
main_queue(queue.size="200000" queue.dequeueBatchSize="2048")
template(name="as_it_came" type="string" string="%rawmsg%\n")
input(type="imtcp" address="127.0.0.1" port="0" listenPortFileName="$syslog/port")
action(type="omfile" file="$syslog/messages" template="as_it_came" ioBufferSize="256k")
CONF
  rsyslogd -n -f "$syslog/conf" -i "$syslog/pid" 2>/dev/null &
  pid=$!
  appears . "$syslog/port"
  timeout "$AGENTS_WAIT_S" "$bin/bench_syslog" "$(cat "$syslog/port")" "$syslog/messages" "$pid" "$INGEST_RECORDS" |
    awk '{printf "rsyslog, imtcp to omfile\t%s\t%s\n", $4, $5}'
  kill "$pid"
  wait "$pid" 2>/dev/null
  rm -r "$syslog"
}
