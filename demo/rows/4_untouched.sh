# Row 4: honest work on the same desk, by the same person whose upload is bounded, while rows 2 and 3 run:
# a download of 200 MB and 200 pages, each compared byte by byte. Beside it the same without Weir.
# shellcheck shell=bash disable=SC2154
readonly BIG_BYTES=200000000 BIG_RATE=12m # the mirror's rate: a 100 Mbit/s line, so that the rows overlap
readonly PAGES=200
readonly SLOWER_MAX=3 SLOWER_SLACK_S=5 # 160 other processes run meanwhile: time is shown, and bounded only loosely

# Pages of 20 to 100 kB and the big file; kept in build/demo between runs. Prints the folder, in the lab: a clone may
# stand where the desk's people can't read, such as root's home.
web_content() {
  local d=$out/web i
  if [[ ! -e $d/done ]]; then
    mkdir -p "$d/pages"
    head -c $BIG_BYTES /dev/zero | openssl enc -aes-128-ctr -K 00 -iv 00 -nosalt 2>/dev/null >"$d/big"
    for ((i = 0; i < PAGES; i++)); do
      head -c $((20000 + i * 400)) /dev/zero | openssl enc -aes-128-ctr -K 00 -iv "$(printf %032x $((i + 1)))" 2>/dev/null |
        base64 >"$d/pages/$i.html"
    done
    sha256sum <"$d/big" >"$d/big.sum"
    touch "$d/done"
  fi
  chmod -R a+rX "$d"
  mkdir -p "$LAB/web"
  mount --bind "$d" "$LAB/web"
  echo "$LAB/web"
}

# errand_as PERSON NAME: writes NAME.download (sum), NAME.pages (one line a good page: seconds), NAME.seconds.
errand_as() {
  local d=$LAB/web began
  began=$(now)
  lab_as "$1" curl -sS -m 45 https://mirror.example-download.org/big 2>"$LAB/log/errand-$2" |
    tee >(wc -c >"$LAB/$2.bytes") | sha256sum >"$LAB/$2.download" &
  local download=$!
  # shellcheck disable=SC2016
  lab_as "$1" bash -c 'one() {
      local t=$(mktemp) s
      s=$(curl -sS -f -m 20 -o "$t" -w "%{time_total}" "https://press-$(($1 % 10)).example-press.com/$1.html") &&
        cmp -s "$t" "$2/pages/$1.html" && echo "$s"
      rm -f "$t"; sleep 0.3
    }; export -f one
    seq 0 $(($1 - 1)) | xargs -P 4 -I{} bash -c "one {} $0"' "$d" $PAGES >"$LAB/$2.pages" 2>>"$LAB/log/errand-$2"
  wait $download
  since "$began" >"$LAB/$2.seconds"
}

row_untouched() {
  local good bytes seconds plain ms plain_ms
  good=$(wc -l <"$LAB/guarded.pages")
  bytes=$(cat "$LAB/guarded.bytes")
  seconds=$(cat "$LAB/guarded.seconds")
  plain=$(cat "$LAB/plain.seconds")
  ms=$(median_ms "$LAB/guarded.pages")
  plain_ms=$(median_ms "$LAB/plain.pages")
  holds "without Weir all of it works ($(wc -l <"$LAB/plain.pages") pages)" same "$(wc -l <"$LAB/plain.pages")" $PAGES
  holds "the download is whole ($bytes bytes)" cmp -s "$LAB/guarded.download" "$out/web/big.sum"
  holds "all pages are whole ($good of $PAGES)" same "$good" $PAGES
  holds "not slower than $SLOWER_MAX times + $SLOWER_SLACK_S s ($seconds s, without Weir $plain s)" \
    awk -v a="$seconds" -v b="$plain" -v f=$SLOWER_MAX -v s=$SLOWER_SLACK_S 'BEGIN {exit !(a <= b * f + s)}'
  write_row 4 downloaded="$bytes" pages="$good" seconds="$seconds" plain_seconds="$plain" page_ms="$ms" plain_page_ms="$plain_ms"
}

median_ms() { sort -n "$1" | awk '{v[NR] = $1} END {printf "%.0f", v[int((NR + 1) / 2)] * 1000}'; }
