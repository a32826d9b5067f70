# Replay: CPU per packet of one big capture, beside other readers of captures. Runs are interleaved, the
# median of the CPU time counts: the machine may be shared.
# shellcheck shell=bash disable=SC2154
readonly REPLAY_ROUNDS=5
readonly MERGE_COPIES=3 # of the corpus' captures: about a million packets
readonly GENERATED_FLOWS=70000
readonly READER_MAX_S=60 # of one run; the slowest peer needs about 3

bench_capture() {
  local captures=()
  if [[ -d ${WEIR_CORPUS:-}/traffic ]]; then
    mapfile -t captures < <(find "$WEIR_CORPUS/traffic" -type f \( -name '*.pcap*' -o -name '*.cap' \) ! -path '*/malformed/*' | sort)
    "$bin/bench_merge" "$LAB/mix.pcap" $MERGE_COPIES "${captures[@]}"
  else
    lab_say "no corpus (WEIR_CORPUS): generated traffic instead"
    "$bin/bench_merge" "$LAB/mix.pcap" 1 --generate $GENERATED_FLOWS
  fi
}

# one_reader NAME: runs it over the capture in the desk's namespace.
one_reader() {
  local f=$LAB/mix.pcap
  case $1 in
    "libpcap loop") "$bin/bench_pcap_loop" "$f" ;;
    "weir replay") "$WEIR" replay --format json "$f" ;;
    "weir replay --flows") "$WEIR" replay --flows --format json "$f" ;;
    ndpiReader) ndpiReader -i "$f" -q ;;
    softflowd) softflowd -r "$f" -n 127.0.0.1:9995 -d -p "$LAB/softflowd.pid" -c none ;;
  esac
}

bench_replay() {
  local info packets source name round readers=("libpcap loop" "weir replay" "weir replay --flows" ndpiReader softflowd)
  info=$(bench_capture)
  packets=$(jq .packets <<<"$info")
  source="$(jq .captures <<<"$info") captures merged"
  for ((round = 0; round < REPLAY_ROUNDS; round++)); do
    for name in "${readers[@]}"; do
      [[ $name == ndpiReader || $name == softflowd ]] && ! command -v "$name" >/dev/null && continue
      # bash's own times: children's user and system seconds, with milliseconds.
      TIMEFORMAT='%U %S'
      { time (export -f one_reader; export LAB bin WEIR
        lab_net desk timeout $READER_MAX_S bash -c 'one_reader "$0"' "$name" >"$LAB/reader.out" 2>"$LAB/log/reader-${name// /-}") ; } 2>"$LAB/time"
      tail -1 "$LAB/time" | awk -v n="$packets" '{printf "%.1f\n", ($1 + $2) * 1e9 / n}' >>"$LAB/cpu.${name// /-}"
    done
  done
  for name in "${readers[@]}"; do
    if [[ -s $LAB/cpu.${name// /-} ]]; then
      result replay "$name" "$(median <"$LAB/cpu.${name// /-}")" unit="CPU ns/packet" note="$packets packets, $source" \
        "$([[ $name == "weir replay" ]] && echo base=yes || echo base=)"
    else
      result replay "$name" "" unit="CPU ns/packet" note="not installed: left out"
    fi
  done
}
