// TCP sockets that are to be destroyed: 200 ms after their first refusal by a `limit`, so that the
// program gets an error at once instead of a full send buffer that never drains (a refused sender
// sees nothing by itself), while bytes that are already counted still reach the peer. A fixed
// table, no allocation: it runs in the guard's loop. Thread: one.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "platform/linux/bpf/weir_abi.h"

namespace weir {

class DueSockets {
 public:
  static constexpr std::uint64_t kDelayNs = 200'000'000;
  // Sockets refused within one delay. 60 forks of 100 flows fit; one that finds no room is
  // destroyed at its next refusal, which is told a second later, and is refused until then: nothing
  // leaves.
  static constexpr std::size_t kMax = 8192;

  // A refusal that was told. Only a settled one counts: an unsettled flow may yet be taken off the
  // row.
  void refused(const weir_refused& record, std::uint64_t now_ns);

  // The next socket whose time has come; it is forgotten here.
  std::optional<weir_refused> take_due(std::uint64_t now_ns);

  std::optional<std::uint64_t> next_due_ns() const;  // none: nothing is waiting
  std::uint64_t dropped() const { return dropped_; }

 private:
  struct Entry {
    weir_refused record;
    std::uint64_t due_ns;
  };
  // A ring in order of arrival, which is the order of the deadlines: the delay is the same for all.
  std::array<Entry, kMax> entries_{};
  std::size_t first_ = 0, count_ = 0;
  std::uint64_t dropped_ = 0;
};

}  // namespace weir
