// Queues by address, and their lengths in order: see waiting_room.h.
#include "platform/doorman/waiting_room.h"

namespace weir {

void WaitingRoom::change(Queues::iterator at,
                         const std::function<void(std::deque<Waiting>&)>& how) {
  by_length_.erase({at->second.size(), at->first});
  count_ -= at->second.size();
  how(at->second);
  count_ += at->second.size();
  if (at->second.empty())
    queues_.erase(at);
  else
    by_length_.emplace(at->second.size(), at->first);
}

std::optional<int> WaitingRoom::add(const std::string& address, Waiting newcomer) {
  std::optional<int> goes;
  const auto own = queues_.find(address);
  const std::size_t has = own == queues_.end() ? 0 : own->second.size();
  if (has >= most_of_address_) return newcomer.fd;
  if (count_ >= most_) {
    // Its newest: the others of that address have waited longer.
    if (by_length_.empty() || by_length_.rbegin()->first <= has + 1) return newcomer.fd;
    change(queues_.find(by_length_.rbegin()->second), [&](std::deque<Waiting>& longest) {
      goes = longest.back().fd;
      longest.pop_back();
    });
  }
  change(queues_.try_emplace(address).first,
         [&](std::deque<Waiting>& queue) { queue.push_back(std::move(newcomer)); });
  return goes;
}

bool WaitingRoom::once_around(
    const std::function<bool(const std::string& address, Waiting& first)>& let_in) {
  bool any = false;
  auto at = queues_.upper_bound(last_);
  for (std::size_t round = queues_.size(); round > 0 && !queues_.empty(); --round) {
    if (at == queues_.end()) at = queues_.begin();
    const auto next = std::next(at);
    if (let_in(at->first, at->second.front())) {
      any = true;
      last_ = at->first;
      change(at, [](std::deque<Waiting>& queue) { queue.pop_front(); });
    }
    at = next;
  }
  return any;
}

std::vector<int> WaitingRoom::since_before(std::int64_t ms) {
  std::vector<int> gone;
  for (auto at = queues_.begin(); at != queues_.end();) {
    const auto next = std::next(at);
    if (at->second.front().since_ms < ms)
      change(at, [&](std::deque<Waiting>& queue) {
        for (; !queue.empty() && queue.front().since_ms < ms; queue.pop_front())
          gone.push_back(queue.front().fd);
      });
    at = next;
  }
  return gone;
}

std::vector<int> WaitingRoom::all() {
  std::vector<int> gone;
  for (const auto& [address, queue] : queues_)
    for (const Waiting& one : queue) gone.push_back(one.fd);
  queues_.clear();
  by_length_.clear();
  count_ = 0;
  return gone;
}

}  // namespace weir
