# Makes a smallest Debian 12 in a folder, of the mirrors that this machine's apt uses. To be sourced by bash.
readonly SUITE=bookworm

# URI CODENAME COMPONENT of each Debian archive that this machine's apt reads.
archives() {
  apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(COMPONENT)' 'Created-By: Packages' 'Origin: Debian' |
    awk -v suite=$SUITE '$2 ~ "^" suite {print}' | sort -u
}

# make_system FOLDER: needs root; a sentence and a status if this machine can't. The caller has skip().
make_system() {
  local new=$1 mirror
  mirror=$(archives | awk -v suite=$SUITE '$2 == suite && $3 == "main" {print $1; exit}')
  [[ -n $mirror ]] || skip "this machine's apt reads no archive of $SUITE; apt-get update first"
  debootstrap --variant=minbase "$SUITE" "$new" "$mirror" >"$new.log" 2>&1 ||
    { tail -5 "$new.log" >&2; return 1; }
  rm -f "$new.log"
  archives | sed 's/^/deb /' >"$new/etc/apt/sources.list"
  # How to reach the mirror (a proxy, a mirror that stands still), nothing else of this machine's apt.
  apt-config dump | grep -E '^Acquire::(http|https|Check-[A-Za-z-]+)(::[A-Za-z]+)? "[^"]+' \
    >"$new/etc/apt/apt.conf.d/90mirror" || true
}
