# Systems of the package tests: a smallest Debian 12 with what our packages need, made once and then only read. To be
# sourced by bash; the caller has skip(), `source_tree` and `work`, and a mount namespace of its own.
source "$source_tree/installers/dev/debian.sh"

# What packages need of others: names for apt.
needs_of() { # DEB…
  local deb
  for deb in "$@"; do dpkg-deb -f "$deb" Depends; done | tr ',' '\n' |
    sed 's/([^)]*)//g; s/.*systemd-standalone-sysusers/systemd-standalone-sysusers/; s/ //g' | sort -u
}

# install_in FOLDER PACKAGE…: with this machine's way to the mirrors.
install_in() {
  local folder=$1 status
  shift
  if chroot "$folder" dpkg-query -W "$@" >/dev/null 2>&1; then return 0; fi
  mount -t proc proc "$folder/proc"
  cp -L /etc/resolv.conf "$folder/etc/resolv.conf"
  chroot "$folder" /usr/bin/env -i PATH="$PATH" HOME=/root DEBIAN_FRONTEND=noninteractive sh -c \
    "apt-get update -qq && apt-get install -y -qq --no-install-recommends $*" >"$folder.log" 2>&1
  status=$?
  umount "$folder/proc"
  if [[ $status -eq 0 ]]; then rm -f "$folder.log"; else tail -5 "$folder.log"; fi
  return $status
}

# cached_system FOLDER PACKAGE…: for one test at a time.
cached_system() {
  local folder=$1
  shift
  mkdir -p "$(dirname "$folder")"
  (
    flock 8
    if [[ ! -e $folder/etc/debian_version ]]; then
      mkdir -p "$folder.new.$$"
      make_system "$folder.new.$$" || exit 1
      mv "$folder.new.$$" "$folder"
    fi
    install_in "$folder" "$@" || skip "the libraries of the packages can't be fetched"
  ) 8>"$folder.lock"
}

# A command in that system, with nothing of this environment, as after a login.
inside() {
  chroot "$work/all" /usr/bin/env -i HOME=/root DEBIAN_FRONTEND=noninteractive \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
}

# mount_over LOWER: a system that writes to memory, in work/all.
mount_over() {
  mkdir -p "$work/memory" "$work/all"
  mount -t tmpfs tmpfs "$work/memory" && mkdir "$work/memory/upper" "$work/memory/work"
  mount -t overlay overlay -o "lowerdir=$1,upperdir=$work/memory/upper,workdir=$work/memory/work" "$work/all" ||
    skip "needs overlayfs"
  cp -L /etc/resolv.conf "$work/all/etc/resolv.conf"
  mount -t proc proc "$work/all/proc"
  mount --rbind /dev "$work/all/dev"
  mount -t sysfs -o ro sysfs "$work/all/sys"
  mount -t bpf bpf "$work/all/sys/fs/bpf" || skip "needs a file system for pins"
}

# repack DEB FOLDER [SUFFIX]: the same package once more, its version with this suffix, quickly unpacked.
repack() {
  dpkg-deb -R "$1" "$work/unpacked"
  sed -i "s/^Version: .*/&${3:-}/" "$work/unpacked/DEBIAN/control"
  dpkg-deb --root-owner-group -Zgzip -z1 -b "$work/unpacked" "$2" >/dev/null
  rm -rf "$work/unpacked"
}
