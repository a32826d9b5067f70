# Debian's kernels, and how they are emulated. To be sourced by bash, with `set -e`.

# Modules; each after those that it needs.
readonly NET="veth inet_diag tcp_diag udp_diag sch_ingress cls_bpf"
readonly DISK="virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk crc16 crc32c_generic
libcrc32c mbcache jbd2 ext4"

# Two processors, run in turn by one thread of the host: with a thread each, the emulator loses a write
# to code that the other processor is about to run, and that one never leaves the breakpoint which a
# static key puts there for a moment (docs/decisions/0014). A processor that hangs all the same panics
# with the traces of both, and the test fails. no_timer_check: a busy host lets the timer look dead for
# a moment, which 6.1 takes for a broken board. clearcpuid, init_on_alloc: the emulator walks a string instruction a
# byte at a time, and the kernel clears memory with them where the processor claims that they are fast.
readonly EMULATOR=(qemu-system-x86_64 -accel tcg,thread=single -cpu max -smp 2 -nographic -no-reboot -nic none)
readonly KERNEL_WORDS="console=ttyS0 loglevel=5 softlockup_panic=1 softlockup_all_cpu_backtrace=1 panic=-1 \
mitigations=off no_timer_check clearcpuid=rep_good,erms,fsrm init_on_alloc=0"

# What tests of tunnels and mounts want: the guest's kernel loads them when it is asked for them, with those that they need.
readonly ASKED="wireguard sit ip_gre ip6_gre sctp xfrm_user xfrm_interface esp4 esp6 authenc echainiv seqiv drbg jitterentropy_rng cbc aes_generic hmac
sha256_generic crc32c_generic nfs nfsv4 nfsd cifs cmac md5 sha512_generic ccm gcm ctr ghash_generic nls_utf8"

skip() { echo "skipped: $*" >&2; exit 77; }

# keep_modules FOLDER: leaves those above and what they need of lib/modules, unpacked, with an index of their own.
keep_modules() {
  local root=$1 release all kept module file
  release=$(basename "$root"/lib/modules/*)
  all=$root/lib/modules/$release kept=$root/kept/lib/modules/$release
  depmod -b "$root" "$release" 2>/dev/null
  for module in $NET $DISK $ASKED; do
    modprobe -d "$root" -S "$release" --show-depends "$module" 2>/dev/null | awk '$1 == "insmod" {print $2}'
  done | sort -u | while read -r file; do
    mkdir -p "$kept/kernel"
    cp "$file" "$kept/kernel/"
  done
  find "$kept" -name '*.ko.xz' -exec xz -d {} +
  cp "$all"/modules.builtin* "$all/modules.order" "$kept/"
  rm -rf "$root/lib"
  mv "$root/kept/lib" "$root/lib"
  depmod -b "$root" "$release"
}

# find_kernel 6.1|6.12 CACHE: `kernel` becomes a folder in CACHE with boot/vmlinuz-* and the modules above, unpacked.
find_kernel() {
  local version=$1 cache=$2 meta package tool
  for tool in qemu-system-x86_64 apt-get dpkg-deb xz depmod; do
    command -v $tool >/dev/null || skip "$tool is not installed"
  done
  [[ $(uname -m) == x86_64 ]] || skip "these kernels are for x86_64"
  # The meta package of this line of kernels, and the package that it depends on today.
  case $version in
    6.1) meta=linux-image-amd64 ;;
    6.12) meta=linux-image-6.12-amd64 ;;
    *) echo "unknown kernel $version" >&2; exit 2 ;;
  esac
  package=$(apt-cache depends "$meta" 2>/dev/null | awk '/Depends: linux-image-/ {print $2; exit}')
  [[ $package == linux-image-$version* ]] || skip "apt offers no $version kernel ($meta)"
  kernel=$cache/$package
  mkdir -p "$cache"
  (
    flock 9
    if ! cmp -s "$kernel/done" <(echo $NET $DISK $ASKED); then
      cd "$cache"
      timeout 300 apt-get -qq download "$package" 2>/dev/null || exit 9
      rm -rf "$kernel"
      mkdir -p "$kernel"
      dpkg-deb --fsys-tarfile "$package"_*.deb | tar -x -C "$kernel" --wildcards './boot/vmlinuz*' './lib/modules/*' 2>/dev/null || true
      keep_modules "$kernel"
      # 6.12 has some of them built in.
      [[ -n $(find "$kernel" -name 'vmlinuz*') && -n $(find "$kernel" -name 'udp_diag.ko*') ]] || exit 9
      rm -f "$package"_*.deb
      echo $NET $DISK $ASKED >"$kernel/done"
    fi
  ) 9>"$cache/lock" || skip "cannot download $package"
}

# find_servers CACHE: `servers` becomes a folder in CACHE with Debian's programs of the kernel's NFS server and of Samba.
# They are not installed here: that would start them.
find_servers() {
  local cache=$1 package
  servers=$cache/servers
  (
    flock 9
    [[ -e $servers/smb ]] && exit 0
    rm -rf "$servers"
    mkdir -p "$servers/debs"
    cd "$servers/debs"
    # What this machine lacks for them; their Python is not asked for anything.
    timeout 300 apt-get -qq download nfs-kernel-server libtirpc3 libwrap0 libnsl2 samba samba-libs libwbclient0 \
      $(apt-get -s install --no-install-recommends samba 2>/dev/null | awk '$1 == "Inst" && $2 ~ /^lib/ {print $2}') \
      2>/dev/null || exit 9
    for package in *.deb; do dpkg-deb -x "$package" "$servers"; done
    rm -rf "$servers/debs"
    touch "$servers/smb"
  ) 9>"$cache/lock" || skip "cannot download the servers"
}
