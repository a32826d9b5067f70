// What a detector remembers of open flows, by serial, in a table of fixed size. A closed flow is
// kept a little longer: late segments must find what was counted already.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>

#include "core/base/keyed_table.h"

namespace weir {

template <class State, std::size_t kFlows>
class FlowMap {
 public:
  State* find(std::uint64_t serial) { return states_.find(serial); }
  // The flow's state, made if need be; when the table is full any other gives way, counted.
  State& at(std::uint64_t serial) {
    if (State* state = find(serial)) return *state;
    if (states_.size() >= kFlows) {
      states_.erase_any();
      ++dropped_;
    }
    return states_[serial];
  }
  void close(std::uint64_t serial) {
    closed_.push_back(serial);
    if (closed_.size() <= kClosed) return;
    states_.erase(closed_.front());
    closed_.pop_front();
  }
  void erase(std::uint64_t serial) { states_.erase(serial); }
  std::uint64_t dropped() const { return dropped_; }

 private:
  static constexpr std::size_t kClosed = 8192;  // core/net keeps closed flows for 10 s
  KeyedTable<State> states_;
  std::deque<std::uint64_t> closed_;
  std::uint64_t dropped_ = 0;
};

}  // namespace weir
