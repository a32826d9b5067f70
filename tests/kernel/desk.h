// A desk for kernel tests: its own network namespace with a peer behind a veth pair, its own
// cgroups, its own bpffs in its own mount namespace. The peer counts what arrives. All of it ends
// with the process.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "platform/linux/kernel_part.h"

namespace weir::test {

inline constexpr const char* kPeer4 = "10.77.0.2";
inline constexpr const char* kPeer6 = "fd77::2";
inline constexpr int kPeerPatience_s = 3;            // two SYNs
inline constexpr const char* kOther4 = "10.78.0.2";  // the same peer in another /24

inline constexpr int kLossyPort = 7253;   // loses one segment in eight
inline constexpr int kChattyPort = 7254;  // answers each datagram three times

// Why kernel tests can't run here, "" if they can.
std::string missing_capability();

// Skips the test where a capability is missing, or fails it where none may be
// (WEIR_KERNEL_MUST_RUN).
#define WEIR_NEEDS_KERNEL()                                          \
  if (auto why = ::weir::test::missing_capability(); !why.empty()) { \
    if (std::getenv("WEIR_KERNEL_MUST_RUN")) FAIL() << why;          \
    GTEST_SKIP() << why;                                             \
  }

// Loops and times are divided by this on slow machines: WEIR_KERNEL_SCALE, 1 if unset.
int scale();

struct Outcome {
  int status = -1;  // exit status, -1: killed
  std::string output;
};

class Desk {
 public:
  Desk();   // once per test; the namespaces are made once per process
  ~Desk();  // ends every process in its cgroups

  const std::string& cgroup() const { return cgroup_; }  // programs attach here
  std::string place(const std::string& name) const { return cgroup_ + "/" + name; }  // "a", "b"
  std::string pin_dir() const;                                                       // in a bpffs
  std::string at_peer() const;        // what a command begins with that is run where the peer is
  int port() const { return port_; }  // of this test; the peer counts per port

  std::uint64_t received(int port) const;  // payload bytes that reached the peer, TCP and UDP
  std::uint64_t received() const { return received(port_); }
  std::uint64_t datagrams(int port) const;
  // Connects from the peer to the desk, reads to the end; waits kPeerPatience_s at most.
  std::uint64_t peer_fetches(int port) const;
  struct Answers {
    std::uint64_t questions = 0, bytes = 0;  // questions answered, payload of all answers
  };
  // The peer asks the desk `count` times, one datagram of `size` bytes each; waits 200 ms at most.
  Answers peer_asks(int port, int count, std::size_t size) const;
  // Until the count stands still for `quiet`, or `most` is over.
  std::uint64_t settled(std::chrono::milliseconds quiet, std::chrono::milliseconds most) const;

  // Starts traffic with these arguments (and --port) in the desk's namespace and PLACE.
  pid_t start(std::vector<std::string> arguments, const std::string& place = "a");
  Outcome finish(pid_t pid);
  void end(pid_t pid);         // SIGKILL
  void end_all();              // everything in the cgroups, also what left its session
  void write_line(pid_t pid);  // to its standard input
  void await_line(pid_t pid, const std::string& line);

 private:
  struct Child {
    pid_t pid = -1;
    int in = -1, out = -1;
    std::string output;
  };
  Child& child(pid_t pid);

  std::string cgroup_;
  int port_ = 0;
  std::vector<Child> children_;
};

// A file copy, so that a program can be marked without marking the original.
std::string traffic_program();
std::string copy_of_traffic(const std::string& name);

bool await(const std::function<bool()>& done, std::chrono::milliseconds most);

}  // namespace weir::test
