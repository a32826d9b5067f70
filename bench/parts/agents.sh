# 2,000 agents with own certificates: connect storm, memory a stream, publish until all have answered;
# beside a bare gRPC server with the same mTLS, in the same run.
# shellcheck shell=bash disable=SC2154
readonly AGENTS=${AGENTS:-2000} AGENTS_WAIT_S=120

resident() { awk '/^VmRSS/ {print $2}' "/proc/$1/status"; }
seconds_of_cpu() { awk -v hz="$(getconf CLK_TCK)" '{sub(/.*\) /, ""); printf "%.2f", ($12 + $13) / hz}' "/proc/$1/stat"; }
appears() {
  local tries
  for ((tries = 0; tries < AGENTS_WAIT_S * 10; ++tries)); do grep -q "$1" "$2" 2>/dev/null && return; sleep 0.1; done
  return 1
}

# agents_against NAME PID PORT PUSH [key=value]…: connects them all, runs PUSH, tells the lines of the table.
agents_against() {
  local name=$1 pid=$2 port=$3 push=$4 before used runner kib
  before=$(resident "$pid") used=$(seconds_of_cpu "$pid")
  : >"$folder/out"
  timeout $((AGENTS_WAIT_S * 2)) "$bin/bench_agents" run "$folder/fleet" "$port" <"$folder/in" >"$folder/out" 2>>"$folder/log" &
  runner=$!
  appears '^connected' "$folder/out" || { result agents "$name" "" note="not all connected"; kill "$runner"; return; }
  used=$(awk -v now="$(seconds_of_cpu "$pid")" -v before="$used" 'BEGIN {printf "%.2f", now - before}')
  kib=$((($(resident "$pid") - before) / AGENTS))
  result agents "$name: connect" "$(awk '/^connected/ {print $3}' "$folder/out")" unit="s, $AGENTS streams" group=connect "${@:5}"
  result agents "$name: CPU to connect" "$used" unit="s CPU of the server" group=cpu "${@:5}"
  result agents "$name: memory" "$kib" unit="KiB a stream" group=memory "${@:5}"
  $push
  appears '^pushed' "$folder/out" || result agents "$name: push" "" note="not all got it"
  result agents "$name: push" "$(awk '/^pushed/ {print $3 * 1000}' "$folder/out")" unit="ms, first to last" group=push "${@:5}" \
    note="${published:-}"
  echo >&8
  wait "$runner"
}

push_by_bare() { echo >&7; }
push_by_weirctl() {
  local start end
  printf 'apiVersion: weir/v1\nname: bench\nmode: observe\nrules: [{id: a, then: log}]\n' >"$folder/policy.yaml"
  start=$(date +%s%N)
  WEIRCTL_CONFIG=$folder/data/admin.json "$bin/weirctl" policy publish --group desks "$folder/policy.yaml" >/dev/null
  WEIRCTL_CONFIG=$folder/data/admin.json "$bin/weirctl" policy status --group desks --wait -o json >"$folder/status"
  end=$(date +%s%N)
  published="publish typed to effective on $(jq -r .effective "$folder/status"): $(((end - start) / 1000000)) ms"
}

bench_agents() {
  local folder pid published=""
  folder=$(mktemp -d "$root/build/bench-agents.XXXXXX")
  mkfifo "$folder/in" "$folder/bare"
  exec 7<>"$folder/bare" 8<>"$folder/in"
  "$bin/bench_agents" prepare "$folder/data" "$AGENTS" "$folder/fleet"
  "$bin/bench_agents" bare "$folder/fleet" <"$folder/bare" >"$folder/bare.out" &
  pid=$!
  appears . "$folder/bare.out"
  agents_against "bare gRPC" "$pid" "$(head -1 "$folder/bare.out")" push_by_bare base=yes
  kill "$pid"
  "$bin/weir-collector" serve --data "$folder/data" --listen 127.0.0.1:0 --console 127.0.0.1:0 2>"$folder/log" &
  pid=$!
  appears '^ready' "$folder/log"
  agents_against weir-collector "$pid" "$(sed -n 's/.*agents: 127.0.0.1:\([0-9]*\);.*/\1/p' "$folder/log")" push_by_weirctl
  kill "$pid"
  wait "$pid"
  exec 7>&- 8>&-
  rm -r "$folder"
}
