// Calls that wait for a host's answer to a command: answered when it comes, when they have waited
// long enough, or when the collector ends. Thread: any.
#pragma once

#include <chrono>
#include <functional>
#include <list>
#include <mutex>

namespace grpc {
class ServerUnaryReactor;
}

namespace weir {

class Pulse;

class Awaited {
 public:
  explicit Awaited(Pulse& pulse);  // the pulse ends first

  static constexpr std::chrono::seconds kLongestWait{10};
  static constexpr std::size_t kMaxWaiting = 256;  // calls that wait for hosts

  // `fill` writes what there is into the call's response; true: there is nothing more to wait for.
  // Many wait already: who calls gets what there is at once.
  void finish_when(grpc::ServerUnaryReactor* reactor, std::function<bool()> fill);

 private:
  using Clock = std::chrono::steady_clock;
  struct Waiting {
    grpc::ServerUnaryReactor* reactor;
    std::function<bool()> fill;
    Clock::time_point until;
  };
  void look(bool ending);

  std::mutex mutex_;
  std::list<Waiting> waiting_;
  bool ended_ = false;
};

}  // namespace weir
