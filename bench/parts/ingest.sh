# Records that the collector has committed, of 100 hosts at once, beside bare SQLite in the same run.
# shellcheck shell=bash disable=SC2154
readonly INGEST_RUNS=3

bench_ingest() {
  local folder=$root/build/bench-ingest out=$root/build/bench-ingest.txt kind
  mkdir -p "$folder"
  : >"$out"
  for ((run = 0; run < INGEST_RUNS; ++run)); do
    "$bin/bench_ingest" "$folder" >>"$out" || { result ingest "bench_ingest" "" note="failed"; return; }
  done
  rmdir "$folder"
  for kind in reports telemetry; do
    result ingest "bare SQLite, $kind" "$(awk -v k="$kind" '$1 == k {print $8}' "$out" | median)" unit="records/s" group="$kind" base=yes \
      note="$(awk -v k="$kind" '$1 == k {print $9}' "$out" | median) us CPU each"
    result ingest "collector's store, $kind" "$(awk -v k="$kind" '$1 == k {print $5}' "$out" | median)" unit="records/s" group="$kind" \
      note="$(awk -v k="$kind" '$1 == k {print $6}' "$out" | median) us CPU each; parsed, hashed, indexed"
  done
}
