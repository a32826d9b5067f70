// Pokes that come while it looks merge into one more look.
#include "collector/services/pulse.h"

#include <chrono>

namespace weir {
namespace {

constexpr std::chrono::milliseconds kBeat{250};
// After a poke: what comes in a burst, 2,000 hosts that take a policy, is looked at together.
constexpr std::chrono::milliseconds kGather{5};

}  // namespace

Pulse::Pulse() : thread_([this] { run(); }) {}
Pulse::~Pulse() {
  stop();
}

void Pulse::add(std::function<void(bool)> look) {
  std::lock_guard lock(mutex_);
  looks_.push_back(std::move(look));
}

void Pulse::poke() {
  {
    std::lock_guard lock(mutex_);
    poked_ = true;
  }
  wake_.notify_one();
}

void Pulse::stop() {
  {
    std::lock_guard lock(mutex_);
    ending_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void Pulse::run() {
  for (bool ending = false; !ending;) {
    std::unique_lock lock(mutex_);
    if (wake_.wait_for(lock, kBeat, [this] { return poked_ || ending_; }) && !ending_)
      wake_.wait_for(lock, kGather, [this] { return ending_; });
    poked_ = false;
    ending = ending_;
    std::vector<std::function<void(bool)>> looks = looks_;
    lock.unlock();
    for (const auto& look : looks) look(ending);
  }
}

}  // namespace weir
