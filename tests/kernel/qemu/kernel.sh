# Debian's kernels, and how they are emulated. To be sourced by bash, with `set -e`.

# Modules; each after those that it needs.
readonly NET="veth inet_diag tcp_diag udp_diag sch_ingress cls_bpf"
readonly DISK="virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk crc16 crc32c_generic
libcrc32c mbcache jbd2 ext4"

# Two processors, run in turn by one thread of the host: with a thread each, the emulator loses a write
# to code that the other processor is about to run, and that one never leaves the breakpoint which a
# static key puts there for a moment (docs/decisions/0014). A processor that hangs all the same panics
# with the traces of both, and the test fails. no_timer_check: a busy host lets the timer look dead for
# a moment, which 6.1 takes for a broken board.
readonly EMULATOR=(qemu-system-x86_64 -accel tcg,thread=single -cpu max -smp 2 -nographic -no-reboot -nic none)
readonly KERNEL_WORDS="console=ttyS0 loglevel=5 softlockup_panic=1 softlockup_all_cpu_backtrace=1 panic=-1 \
mitigations=off no_timer_check"

skip() { echo "skipped: $*" >&2; exit 77; }

# find_kernel 6.1|6.12 CACHE: `kernel` becomes a folder in CACHE with boot/vmlinuz-* and the modules above, unpacked.
find_kernel() {
  local version=$1 cache=$2 meta package tool
  for tool in qemu-system-x86_64 apt-get dpkg-deb xz; do
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
    if ! cmp -s "$kernel/done" <(echo $NET $DISK); then
      cd "$cache"
      timeout 300 apt-get -qq download "$package" 2>/dev/null || exit 9
      mkdir -p "$kernel"
      wanted=()
      for module in $NET $DISK; do wanted+=("*/$module.ko*"); done
      dpkg-deb --fsys-tarfile "$package"_*.deb | tar -x -C "$kernel" --wildcards './boot/vmlinuz*' "${wanted[@]}" 2>/dev/null || true
      # 6.12 has some of them built in.
      [[ -n $(find "$kernel" -name 'vmlinuz*') && -n $(find "$kernel" -name 'udp_diag.ko*') ]] || exit 9
      find "$kernel" -name '*.ko.xz' -exec xz -d {} +
      rm -f "$package"_*.deb
      echo $NET $DISK >"$kernel/done"
    fi
  ) 9>"$cache/lock" || skip "cannot download $package"
}
