// KernelPart: putting tasks into the table from user space, one by one or all that already run,
// with the sockets that they hold.
#include <bpf/bpf.h>
#include <dirent.h>
#include <fmt/format.h>
#include <linux/if_packet.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <unordered_map>

#include "platform/linux/boot_clock.h"
#include "platform/linux/kernel_state.h"

namespace weir {
namespace {

constexpr std::uint32_t kUnset = 0xffffffff;
constexpr std::size_t kMostSockets = 65536;     // bound at start; the rest is unattributed
constexpr std::size_t kMostCgroups = 65536;     // folders that are walked
constexpr std::uint64_t kTreeCounterBits = 12;  // as in bpf/identity.h

struct Process {
  std::uint32_t pid = 0, parent = 0, uid = 0, login = kUnset;
  std::uint64_t start_ns = 0;
  bool kernel_thread = false;
};

std::string slurp(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

std::optional<Process> read_process(std::uint32_t pid) {
  std::string stat_line = slurp(fmt::format("/proc/{}/stat", pid));
  std::size_t after_name = stat_line.rfind(')');
  if (after_name == std::string::npos) return std::nullopt;
  std::istringstream fields(stat_line.substr(after_name + 1));
  std::vector<std::string> f;
  for (std::string field; f.size() < 20 && fields >> field;) f.push_back(field);
  if (f.size() < 20) return std::nullopt;
  constexpr unsigned long kKernelThread = 0x00200000;  // PF_KTHREAD
  Process p;
  p.pid = pid;
  p.parent = static_cast<std::uint32_t>(std::strtoul(f[1].c_str(), nullptr, 10));
  p.kernel_thread = std::strtoul(f[6].c_str(), nullptr, 10) & kKernelThread;
  const auto ticks = static_cast<std::uint64_t>(sysconf(_SC_CLK_TCK));
  p.start_ns = std::strtoull(f[19].c_str(), nullptr, 10) * (1'000'000'000 / ticks);
  std::string login = slurp(fmt::format("/proc/{}/loginuid", pid));
  if (!login.empty())
    p.login = static_cast<std::uint32_t>(std::strtoul(login.c_str(), nullptr, 10));
  std::string status = slurp(fmt::format("/proc/{}/status", pid));
  std::size_t at = status.find("\nUid:");
  if (at != std::string::npos)
    p.uid = static_cast<std::uint32_t>(std::strtoul(status.c_str() + at + 5, nullptr, 10));
  return p;
}

// Every process of the cgroup and those below it. Threaded cgroups don't tell: skipped.
std::vector<std::uint32_t> processes_of(const std::string& cgroup) {
  std::vector<std::uint32_t> pids;
  auto add = [&](const std::filesystem::path& folder) {
    std::ifstream procs(folder / "cgroup.procs");
    for (std::uint32_t pid; procs >> pid;)
      if (pid != 0) pids.push_back(pid);
  };
  add(cgroup);
  std::error_code e;
  std::size_t walked = 0;
  for (auto it = std::filesystem::recursive_directory_iterator(cgroup, e);
       !e && it != std::filesystem::recursive_directory_iterator() && walked < kMostCgroups;
       it.increment(e))
    if (it->is_directory(e) && ++walked) add(it->path());
  return pids;
}

// The kernel's own encoding of a device, which is not that of stat().
std::optional<weir_inode_key> inode_of(const std::string& path) {
  struct stat s {};
  if (stat(path.c_str(), &s)) return std::nullopt;
  return weir_inode_key{std::uint64_t{major(s.st_dev)} << 20 | minor(s.st_dev), s.st_ino};
}

bool runs_launcher(int launchers, std::uint32_t pid) {
  const std::optional<weir_inode_key> key = inode_of(fmt::format("/proc/{}/exe", pid));
  std::uint32_t value = 0;
  return key && bpf_map_lookup_elem(launchers, &*key, &value) == 0;
}

std::uint64_t make_tree(KernelState& state) {
  constexpr std::uint64_t low = (std::uint64_t{1} << (kTreeCounterBits + 1)) - 1;
  return (boot_now_ns() & ~low) | ((state.trees++ << 1 | 1) & low);
}

weir_task root_task(KernelState& state, const Process& p) {
  weir_task t{};
  t.tree = make_tree(state);
  t.start_ns = p.start_ns;
  t.person = p.login != kUnset ? p.login : p.uid;
  t.uid = p.uid;
  t.flags = WEIR_TASK_ROOT;
  return t;
}

// Membership of what runs already is read off the parents: a process whose parent is a launcher, or
// not in the cgroup, is the root of a tree.
class Scan {
 public:
  Scan(KernelState& state, const std::vector<std::uint32_t>& pids) : state_(state) {
    for (std::uint32_t pid : pids)
      if (auto p = read_process(pid); p && !p->kernel_thread) found_[pid] = *p;
  }

  std::size_t run() {
    for (const auto& [pid, p] : found_) (void)place(pid, 0);
    return added_;
  }

  const std::unordered_map<std::uint32_t, weir_task>& placed() const { return placed_; }

 private:
  static constexpr int kDeepest = 512;  // parents of parents; beyond that a tree starts anew

  weir_task place(std::uint32_t pid, int depth) {
    if (auto it = placed_.find(pid); it != placed_.end()) return it->second;
    const Process& p = found_.at(pid);
    weir_task t{};
    int tasks = state_.map("tasks");
    if (bpf_map_lookup_elem(tasks, &pid, &t)) {
      t = make(p, depth);
      if (!bpf_map_update_elem(tasks, &pid, &t, BPF_NOEXIST))
        added_++;
      else
        bpf_map_lookup_elem(tasks, &pid, &t);  // it forked or opened a socket meanwhile
    } else if ((t.flags & (WEIR_TASK_ROOT | WEIR_TASK_LAUNCHER)) == WEIR_TASK_ROOT &&
               runs_launcher(state_.map("launchers"), pid)) {
      t.flags |= WEIR_TASK_LAUNCHER;  // for the guard before us it was none
      bpf_map_update_elem(tasks, &pid, &t, BPF_EXIST);
    }
    return placed_[pid] = t;
  }

  weir_task make(const Process& p, int depth) {
    bool root = !found_.contains(p.parent) || p.parent == p.pid || depth >= kDeepest;
    weir_task parent{};
    if (!root) parent = place(p.parent, depth + 1);
    if (root || parent.flags & WEIR_TASK_LAUNCHER) {
      weir_task t = root_task(state_, p);
      if (p.pid == 1 || runs_launcher(state_.map("launchers"), p.pid))
        t.flags |= WEIR_TASK_LAUNCHER;
      return t;
    }
    parent.flags = 0;
    parent.start_ns = p.start_ns;
    parent.uid = p.uid;
    return parent;
  }

  KernelState& state_;
  std::unordered_map<std::uint32_t, Process> found_;
  std::unordered_map<std::uint32_t, weir_task> placed_;
  std::size_t added_ = 0;
};

// A packet socket that goes to the driver itself passes neither a hook nor the floor. Asking for
// that is refused by now; what asked before is put back behind the floor.
void close_way_past(int packet_socket) {
  const int off = 0;
  (void)setsockopt(packet_socket, SOL_PACKET, PACKET_QDISC_BYPASS, &off, sizeof off);
}

// A packet of it was seen before we came to it, so that it counts for the user who made it and for
// no tree. From here on it is its owner's. What it has sent stays with that user: a verdict must
// not take it off an account that it is not on.
void take_over(int sockets, int key, const weir_socket& owned) {
  constexpr int kTries = 100;  // a packet is at it for microseconds
  for (int i = 0; i < kTries; i++) {
    weir_socket value{};
    if (bpf_map_lookup_elem(sockets, &key, &value) != 0 || value.tree != 0) return;
    const bool looks =
        (value.flags & (WEIR_SOCKET_CLAIMED | WEIR_SOCKET_LOOKED_UP)) == WEIR_SOCKET_CLAIMED;
    if (looks || (value.flags & WEIR_SOCKET_SETTLING)) continue;
    value.tree = owned.tree;
    value.person = owned.person;
    value.pid = owned.pid;
    value.flags &= ~(WEIR_SOCKET_PROVISIONAL | WEIR_SOCKET_ROOTS);
    value.flags |= owned.flags;
    value.first_flight = 0;
    (void)bpf_map_update_elem(sockets, &key, &value, BPF_EXIST);
    return;
  }
}

// Gives one socket of another process to its tree, if it is an internet socket that nobody owns
// yet.
void bind_socket(int sockets, int pidfd, int number, std::uint32_t pid, const weir_task& task) {
  // Held for a moment only: a copy of the descriptor delays its close.
  Fd fd(static_cast<int>(syscall(SYS_pidfd_getfd, pidfd, number, 0)));
  int domain = 0;
  socklen_t size = sizeof domain;
  if (!fd || getsockopt(fd.get(), SOL_SOCKET, SO_DOMAIN, &domain, &size)) return;
  if (domain == AF_PACKET) return close_way_past(fd.get());
  if (domain != AF_INET && domain != AF_INET6) return;
  weir_socket value{};
  size = sizeof value.cookie;
  if (getsockopt(fd.get(), SOL_SOCKET, SO_COOKIE, &value.cookie, &size)) return;
  value.tree = task.tree;
  value.person = task.person;
  value.pid = pid;
  if (task.flags & WEIR_TASK_LAUNCHER) value.flags = WEIR_SOCKET_PROVISIONAL;
  if (task.uid == 0) value.flags |= WEIR_SOCKET_ROOTS;
  int key = fd.get();
  if (bpf_map_update_elem(sockets, &key, &value, BPF_NOEXIST) != 0) take_over(sockets, key, value);
}

void bind_sockets_of(int sockets, std::uint32_t pid, const weir_task& task, std::size_t& left) {
  Fd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  std::string folder = fmt::format("/proc/{}/fd", pid);
  DIR* dir = pidfd ? opendir(folder.c_str()) : nullptr;
  if (!dir) return;
  while (dirent* entry = left ? readdir(dir) : nullptr) {
    char target[32];
    ssize_t n = readlinkat(dirfd(dir), entry->d_name, target, sizeof target);
    if (n < 8 || std::memcmp(target, "socket:", 7) != 0) continue;
    left--;
    int fd = -1;
    std::from_chars(entry->d_name, entry->d_name + std::strlen(entry->d_name), fd);
    bind_socket(sockets, pidfd.get(), fd, pid, task);
  }
  closedir(dir);
}

}  // namespace

Result<void> KernelPart::set_launchers(std::span<const std::string> executables) {
  const int launchers = state_->map("launchers");
  std::vector<weir_inode_key> wanted;
  std::uint32_t one = 1;
  for (const std::string& executable : executables) {
    const std::optional<weir_inode_key> key = inode_of(executable);
    if (!key) continue;
    if (bpf_map_update_elem(launchers, &*key, &one, BPF_ANY))
      return fail_with("cannot mark launcher " + executable, errno);
    wanted.push_back(*key);
  }
  // The number of a file that is gone may be a person's next file.
  for (const weir_inode_key& key : keys_of<weir_inode_key>(launchers)) {
    const auto is_it = [&](const weir_inode_key& one) {
      return one.dev == key.dev && one.ino == key.ino;
    };
    if (std::none_of(wanted.begin(), wanted.end(), is_it)) bpf_map_delete_elem(launchers, &key);
  }
  return {};
}

Result<std::uint64_t> KernelPart::put_task(std::uint32_t pid, std::uint32_t person,
                                           std::uint32_t flags) {
  auto p = read_process(pid);
  if (!p) return fail(fmt::format("process {} is gone", pid));
  weir_task t = root_task(*state_, *p);
  if (person != kUnset) t.person = person;
  t.flags |= flags;
  if (bpf_map_update_elem(state_->map("tasks"), &pid, &t, BPF_ANY))
    return fail_with(fmt::format("cannot put process {} into the task table", pid), errno);
  return t.tree;
}

Result<std::size_t> KernelPart::scan_tasks(bool bind_sockets) {
  Scan scan(*state_, processes_of(state_->place.path));
  std::size_t added = scan.run();
  std::size_t left = kMostSockets;
  if (bind_sockets)
    for (const auto& [pid, task] : scan.placed())
      bind_sockets_of(state_->map("sockets"), pid, task, left);
  return added;
}

}  // namespace weir
