// A child cgroup of our own: see cgroup.h.
#include "agent/run/cgroup.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <utility>

#include "platform/linux/kernel_part.h"

namespace weir {
namespace {

// Processes that one listing returns. A command with more is killed by cgroup.kill all the same;
// the list only serves kernels before 5.14, round by round.
constexpr std::size_t kMaxListed = 65536;
constexpr int kKillRounds = 50;            // a fork storm outruns one listing
constexpr useconds_t kKillPauseUs = 2000;  // between rounds: lets the killed be reaped

bool write_text(const std::string& path, const char* text) {
  int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  bool written = ::write(fd, text, std::strlen(text)) == static_cast<ssize_t>(std::strlen(text));
  ::close(fd);
  return written;
}

}  // namespace

Result<std::string> own_cgroup() {
  Result<std::string> root = cgroup2_root();
  if (!root) return root;
  std::ifstream file("/proc/self/cgroup");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("0::/")) return *root + line.substr(3);
  return fail("/proc/self/cgroup names no cgroup of ours");
}

void remove_left_cgroups(const std::string& parent, const std::string& prefix) {
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(parent, ignored)) {
    const std::string name = entry.path().filename();
    pid_t pid = 0;
    if (!name.starts_with(prefix)) continue;
    const char* end = name.data() + name.size();
    auto [stop, wrong] = std::from_chars(name.data() + prefix.size(), end, pid);
    if (wrong != std::errc{} || stop != end || pid <= 0) continue;
    if (::kill(pid, 0) != 0 && errno == ESRCH) ::rmdir(entry.path().c_str());
  }
}

Result<ChildCgroup> agent_cgroup(const std::string& hooked, const std::string& prefix) {
  const std::string name = fmt::format("{}{}", prefix, ::getpid());
  remove_left_cgroups(hooked, prefix);
  Result<ChildCgroup> made = ChildCgroup::make(hooked, name);
  if (made) return made;
  Result<std::string> own = own_cgroup();
  if (!own || !own->starts_with(hooked + "/")) return made;
  remove_left_cgroups(*own, prefix);
  return ChildCgroup::make(*own, name);
}

Result<ChildCgroup> ChildCgroup::make(const std::string& parent, const std::string& name) {
  std::string path = parent + "/" + name;
  if (::mkdir(path.c_str(), 0755) != 0)
    return fail(fmt::format("cannot make the cgroup {}: {}", path, std::strerror(errno)));
  int fd = ::open((path + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) {
    int cause = errno;
    ::rmdir(path.c_str());
    return fail(fmt::format("{} is not in a cgroup2 file system: {}", path, std::strerror(cause)));
  }
  return ChildCgroup(std::move(path), fd);
}

ChildCgroup::ChildCgroup(ChildCgroup&& other) noexcept
    : path_(std::exchange(other.path_, {})), fd_(std::exchange(other.fd_, -1)) {}

ChildCgroup& ChildCgroup::operator=(ChildCgroup&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(fd_, other.fd_);
  return *this;
}

ChildCgroup::~ChildCgroup() {
  if (fd_ >= 0) ::close(fd_);
  if (path_.empty()) return;
  kill();
  for (int round = 0; round < kKillRounds; ++round) {
    if (::rmdir(path_.c_str()) == 0 || errno == ENOENT) return;
    ::usleep(kKillPauseUs);
  }
}

std::vector<pid_t> ChildCgroup::processes() const {
  std::vector<pid_t> found;
  std::ifstream procs(path_ + "/cgroup.procs");
  for (pid_t pid; found.size() < kMaxListed && procs >> pid;) found.push_back(pid);
  return found;
}

void ChildCgroup::kill() const {
  if (write_text(path_ + "/cgroup.kill", "1")) return;  // since 5.14
  for (int round = 0; round < kKillRounds; ++round) {
    std::vector<pid_t> left = processes();
    if (left.empty()) return;
    for (pid_t pid : left) ::kill(pid, SIGKILL);
    ::usleep(kKillPauseUs);
  }
}

}  // namespace weir
