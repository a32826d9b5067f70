# Many jobs of several persons, each of which sends JOB bytes, under one limit for each person. Sourced by the lab
# tests of what starts programs for others, after lab.sh.
#
# shellcheck shell=bash

readonly LIMIT=$((128 * 1024)) JOB=$((64 * 1024)) JOBS=10 READY_S=40
failed=0
expect() { if "${@:2}"; then echo "holds: $1"; else echo "DID NOT HOLD: $1"; failed=1; fi; }

weir_ready() { grep -qw ready "$LAB/log/weir" || ! kill -0 "$weir_pid"; }
# start_weir WEIR NAME: of the policy.
start_weir() {
  cat >"$LAB/policy.yaml" <<YAML
apiVersion: weir/v1
name: $2
mode: enforce
resolvers: [{address: $LAB_RESOLVER}]
rules:
  - id: what-a-person-sends
    then: {limit: {bytes: $LIMIT, per: person}}
YAML
  lab_spawn desk weir "$1" run --policy "$LAB/policy.yaml" --cgroup "$LAB_DESK_CG" --pin "$LAB/bpf" --state "$LAB/state"
  weir_pid=$LAB_PID
  lab_wait_for $READY_S weir_ready && kill -0 "$weir_pid" 2>/dev/null && return
  cat "$LAB/log/weir"
  exit 1
}

make_job() {
  head -c $JOB /dev/urandom >"$LAB/job"
  chmod 755 "$LAB"
  chmod 644 "$LAB/job"
}
job() { echo "curl -s --max-time 30 --cacert $LAB/ca/ca.pem -o /dev/null -T $LAB/job https://content.dropboxapi.com/ >/dev/null 2>&1"; }

# account NAME: bytes on the person's account; nothing: there is none.
account() {
  "$WEIR" status --state "$LAB/state" --person "${LAB_PEOPLE[$1]}" --format json | jq -r '.accounts[]? | .bytesSpent'
}
spent() { [[ $(account "$1") -ge $2 ]]; }
at_most() { [[ $1 -le $2 ]]; }
is_full() { lab_wait_for 60 spent "$1" $((LIMIT - 16384)); }
is_within() { at_most "$(account "$1")" $LIMIT; }
# What sends for persons must not be found on root's account. The kernel's own is there: it tells the resolver that
# somebody who was cut off no longer waits for an answer.
of_root() { "$WEIR" status --state "$LAB/state" --person 0 --format json | jq '[.accounts[]? | .bytesSpent | tonumber] | add // 0'; }

# expect_accounts NAME…: each is full and within its limit, and the receiver got no more than all of them hold.
expect_accounts() {
  local name got
  for name in "$@"; do
    expect "$name's $JOBS jobs fill an account of their own" is_full "$name"
    expect "and no more than it holds ($(account "$name") of $LIMIT)" is_within "$name"
  done
  expect "root's account has no job of theirs ($(of_root))" at_most "$(of_root)" $((JOB / 4))
  lab_stop_receiver
  got=$(lab_wire_bytes)
  echo "the receiver got $got bytes of $(($# * JOBS * JOB))"
  expect "the receiver got what $# accounts hold at most" at_most "$got" $(($# * LIMIT))
  expect "and more than $(($# - 1)) hold" at_most $((($# - 1) * LIMIT)) "$got"
}
