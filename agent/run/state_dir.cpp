// The folder that the agent keeps on a desk: see state_dir.h.
#include "agent/run/state_dir.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace weir {
namespace {

// The engine stops at 64 MiB (kMaxStateFile); a file that is half full gives it room for a new run.
constexpr std::int64_t kPutAside = 32 << 20;

Result<Fd> open_one(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) == 0 && info.st_size >= kPutAside)
    (void)::rename(path.c_str(), (path + ".1").c_str());
  Fd file(::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file) return fail(fmt::format("{}: {}", path, std::strerror(errno)));
  return file;
}

}  // namespace

Result<Fd> lock_folder(const std::string& dir) {
  Fd folder(::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder) return fail(fmt::format("{}: {}", dir, std::strerror(errno)));
  if (::flock(folder.get(), LOCK_EX | LOCK_NB) == 0) return folder;
  if (errno == EWOULDBLOCK) return fail(fmt::format("{}: another weir run uses it", dir));
  return fail(fmt::format("{}: cannot be locked: {}", dir, std::strerror(errno)));
}

Result<StateFiles> open_state(const std::string& dir) {
  std::error_code error;
  std::filesystem::create_directories(dir, error);
  if (error) return fail(fmt::format("{}: {}", dir, error.message()));
  ::chmod(dir.c_str(), 0700);  // what people did is for root
  Result<Fd> lock = lock_folder(dir);
  if (!lock) return tl::unexpected(lock.error());
  Result<Fd> reports = open_one(dir + "/reports.jsonl"), usage = open_one(dir + "/usage.jsonl"),
             sessions = open_one(dir + "/sessions.jsonl");
  for (const Result<Fd>* one : {&reports, &usage, &sessions})
    if (!*one) return tl::unexpected(one->error());
  return StateFiles{std::move(*reports), std::move(*usage), std::move(*sessions), std::move(*lock)};
}

Result<void> write_running(const std::string& dir, const RunningAgent& agent) {
  std::ofstream file(dir + "/running");
  file << agent.pid << '\n'
       << agent.since_wall_ns << '\n'
       << agent.pin_dir << '\n'
       << agent.cgroup << '\n'
       << agent.policy_file << '\n';
  file.close();
  if (!file) return fail(fmt::format("{}/running: can't be written", dir));
  return {};
}

Result<RunningAgent> read_running(const std::string& dir) {
  std::ifstream file(dir + "/running");
  RunningAgent agent;
  std::string rest;
  if (!(file >> agent.pid >> agent.since_wall_ns))
    return fail(fmt::format("no agent has run with the state {}", dir));
  std::getline(file, rest);
  std::getline(file, agent.pin_dir);
  std::getline(file, agent.cgroup);
  std::getline(file, agent.policy_file);
  return agent;
}

}  // namespace weir
