// weir-engine with a spool, started as the guard's spawner starts it: descriptors at their numbers,
// packets by a socket. The test stands where the guard would.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <string>

#include "agent/guard/descriptors.h"
#include "core/policy/default_policy.h"
#include "proto/map/policy_proto.h"
#include "tests/scenarios/traffic.h"

namespace weir {

class EngineProgram {
 public:
  ~EngineProgram() { end(SIGKILL); }

  // `spool`: its folder. `acknowledged`: a file. What it prints goes to `log`.
  void start(int spool, const std::filesystem::path& acknowledged, int news,
             const std::filesystem::path& log) {
    int guard[2], packets[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, guard), 0);
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, packets), 0);
    int policy = ::memfd_create("policy", MFD_CLOEXEC);
    std::string bytes = policy_bytes(*default_policy());
    ASSERT_EQ(::write(policy, bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
    int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    int output = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    std::array<int, fds::kLast + 1> wanted{};
    wanted.fill(null);
    wanted[STDOUT_FILENO] = wanted[STDERR_FILENO] = output;
    wanted[fds::kGuard] = guard[1];
    wanted[fds::kPolicy] = policy;
    wanted[fds::kSource] = packets[1];
    wanted[fds::kSpool] = spool;
    wanted[fds::kAcknowledged] = ::open(acknowledged.c_str(), O_RDONLY | O_CLOEXEC);
    wanted[fds::kNews] = news;
    pid_ = ::fork();
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      std::array<int, wanted.size()> moved{};
      for (std::size_t n = 0; n < wanted.size(); ++n) moved[n] = ::fcntl(wanted[n], F_DUPFD, 100);
      for (std::size_t n = 0; n < wanted.size(); ++n) ::dup2(moved[n], static_cast<int>(n));
      ::syscall(SYS_close_range, fds::kLast + 1, ~0u, 0);
      ::execl(WEIR_ENGINE, "weir-engine", nullptr);
      ::_exit(127);
    }
    for (int fd : {guard[1], packets[1], policy, null, output, wanted[fds::kAcknowledged]})
      ::close(fd);
    guard_ = guard[0];
    packets_ = packets[0];
  }

  // The guard goes, and `signal` comes, if it is one.
  int end(int signal) {
    if (pid_ <= 0) return -1;
    ::close(guard_);
    if (signal != 0) ::kill(pid_, signal);
    int status = 0;
    ::waitpid(pid_, &status, 0);
    ::close(packets_);
    pid_ = -1;
    return status;
  }

  // The same questions of a tunnel under `zone` each time. False: the engine takes no more.
  bool tunnel(const std::string& zone, unsigned queries = 600) const {
    std::uint64_t state = 88172645463325252ull;
    for (unsigned query = 0; query < queries; ++query) {
      std::string label;
      for (int n = 0; n < 50; ++n) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        label += "abcdefghijklmnopqrstuvwxyz234567"[state % 32];
      }
      traffic::Buffer packet = traffic::udp(
          {traffic::ip("10.0.0.5"), 41000}, {traffic::ip("192.0.2.53"), 53},
          traffic::dns_query(static_cast<std::uint16_t>(query), label + ".t." + zone, 16));
      if (::send(packets_, packet.data(), packet.size(), MSG_NOSIGNAL) < 0) return false;
    }
    return true;
  }

 private:
  pid_t pid_ = -1;
  int guard_ = -1, packets_ = -1;
};

}  // namespace weir
