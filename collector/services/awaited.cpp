// Calls that wait for a host's answer.
#include "collector/services/awaited.h"

#include <grpcpp/support/server_callback.h>

#include <utility>

#include "collector/services/pulse.h"

namespace weir {

Awaited::Awaited(Pulse& pulse) {
  pulse.add([this](bool ending) { look(ending); });
}

void Awaited::finish_when(grpc::ServerUnaryReactor* reactor, std::function<bool()> fill) {
  std::lock_guard lock(mutex_);
  if (fill() || ended_ || waiting_.size() >= kMaxWaiting)
    reactor->Finish(grpc::Status::OK);
  else
    waiting_.push_back({reactor, std::move(fill), Clock::now() + kLongestWait});
}

void Awaited::look(bool ending) {
  std::lock_guard lock(mutex_);
  ended_ = ended_ || ending;
  for (auto at = waiting_.begin(); at != waiting_.end();) {
    if (!at->fill() && !ending && Clock::now() < at->until) {
      ++at;
      continue;
    }
    at->reactor->Finish(grpc::Status::OK);
    at = waiting_.erase(at);
  }
}

}  // namespace weir
