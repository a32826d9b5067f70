// Who waits before a door: each address has a queue, and they are let in by turns. When the room is
// full, the address that has the most waiting gives one up, so no address can fill it for others.
// Owns no descriptor. Thread: one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace weir {

struct Waiting {
  int fd = -1;
  std::string key;  // who it is
  std::int64_t since_ms = 0;
  bool held_back = false;  // it was its turn, but for handshakes of others
};

class WaitingRoom {
 public:
  WaitingRoom(std::size_t most, std::size_t most_of_address)
      : most_(most), most_of_address_(most_of_address) {}

  // Who has to go instead: the newcomer itself or another one; nothing: there was room.
  std::optional<int> add(const std::string& address, Waiting newcomer);
  // The first of each address, once around; those of whom `let_in` says true are gone from here.
  // Whether there was one.
  bool once_around(const std::function<bool(const std::string& address, Waiting& first)>& let_in);
  std::vector<int> since_before(std::int64_t ms);  // takes them out
  std::vector<int> all();                          // takes them out
  std::size_t size() const { return count_; }

 private:
  using Queues = std::map<std::string, std::deque<Waiting>>;
  void change(Queues::iterator at, const std::function<void(std::deque<Waiting>&)>& how);

  const std::size_t most_, most_of_address_;
  Queues queues_;                                            // none is empty
  std::set<std::pair<std::size_t, std::string>> by_length_;  // of queues_
  std::string last_;                                         // whose turn it was
  std::size_t count_ = 0;
};

}  // namespace weir
