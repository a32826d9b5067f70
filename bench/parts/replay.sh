# Replay: CPU per packet, beside other readers of captures, over two captures: the corpus merged (small
# packets, four fifths of them DNS, among them floods of new names: the hardest there is) and generated
# TLS-like bulk. Runs are interleaved, the median of the CPU time counts: the machine may be shared.
# shellcheck shell=bash disable=SC2154
readonly REPLAY_ROUNDS=3
readonly MERGE_COPIES=3 # of the corpus' captures: about a million packets
readonly GENERATED_FLOWS=15000 # 270 MB
readonly READER_MAX_S=90 # of one run; the slowest peer needs a few seconds where nothing else runs

# bench_capture KIND: writes KIND.pcap, prints {captures, packets}; nothing where the corpus is absent.
bench_capture() {
  local captures=()
  if [[ $1 == bulk ]]; then
    "$bin/bench_merge" "$LAB/bulk.pcap" 1 --generate $GENERATED_FLOWS
  elif [[ -d ${WEIR_CORPUS:-}/traffic ]]; then
    mapfile -t captures < <(find "$WEIR_CORPUS/traffic" -type f \( -name '*.pcap*' -o -name '*.cap' \) ! -path '*/malformed/*' | sort)
    "$bin/bench_merge" "$LAB/mix.pcap" $MERGE_COPIES "${captures[@]}"
  fi
}

# one_reader NAME FILE
one_reader() {
  case $1 in
    "libpcap loop") "$bin/bench_pcap_loop" "$2" ;;
    "weir replay") "$WEIR" replay --format json "$2" ;;
    ndpiReader) ndpiReader -i "$2" -q ;;
    # Without a control socket: a reading softflowd may wait on it for ever.
    softflowd) softflowd -r "$2" -n 127.0.0.1:9995 -d -p "$LAB/softflowd.pid" -c none ;;
  esac
}

# timed_reader NAME KIND PACKETS: appends CPU ns per packet to cpu.KIND.NAME; nothing if it failed.
timed_reader() {
  local TIMEFORMAT='%U %S' # of the children: user and system seconds
  {
    time (
      export -f one_reader
      export LAB bin WEIR
      lab_net desk timeout $READER_MAX_S bash -c 'one_reader "$@"' reader "$1" "$LAB/$2.pcap" \
        >"$LAB/reader.out" 2>"$LAB/log/reader-${1// /-}" || touch "$LAB/reader.failed"
    )
  } 2>"$LAB/time"
  [[ ! -e $LAB/reader.failed ]] && tail -1 "$LAB/time" | awk -v n="$3" '{printf "%.1f\n", ($1 + $2) * 1e9 / n}' >>"$LAB/cpu.$2.${1// /-}"
  rm -f "$LAB/reader.failed"
}

bench_replay() {
  local kind
  for kind in mix bulk; do bench_reading $kind; done
}

bench_reading() {
  local kind=$1 info packets note name round readers=("libpcap loop" "weir replay" ndpiReader softflowd) installed=()
  info=$(bench_capture "$kind")
  if [[ -z $info ]]; then
    result replay "$kind" "" group="$kind" note="left out: no corpus (WEIR_CORPUS)"
    return
  fi
  packets=$(jq .packets <<<"$info")
  note="$kind: $packets packets of $(jq .captures <<<"$info") captures"
  for name in "${readers[@]}"; do
    [[ $name != *" "* ]] && ! command -v "$name" >/dev/null || installed+=("$name")
  done
  for ((round = 0; round < REPLAY_ROUNDS; round++)); do
    for name in "${installed[@]}"; do timed_reader "$name" "$kind" "$packets"; done
  done
  for name in "${readers[@]}"; do
    result replay "$kind: $name" "$(cat "$LAB/cpu.$kind.${name// /-}" 2>/dev/null | median)" unit="CPU ns/packet" group="$kind" \
      note="$(if [[ ! -s $LAB/cpu.$kind.${name// /-} ]]; then echo "left out: not installed, or it failed"; elif [[ $name == lib* ]]; then echo "$note"; fi)" \
      base="$([[ $name == "weir replay" ]] && echo yes)"
  done
  rm -f "$LAB/$kind.pcap"
}
