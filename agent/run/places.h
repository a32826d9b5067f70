// Where a command's bytes went, from the kernel's ledger records. Bounded. Thread: one.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "agent/run/exec_summary.h"
#include "core/base/bytes.h"
#include "platform/linux/bpf/weir_abi.h"

namespace weir {

class Places {
 public:
  void record(Bytes record);  // of the ring `events`; kinds that tell no volume are passed over

  bool any_open() const { return open_ > 0; }
  std::vector<weir_usage> open_sockets() const;                 // TCP, told and not yet told closed
  std::vector<ExecPlace> summed(std::uint32_t& dropped) const;  // by destination, most bytes first
  std::uint64_t sockets_dropped() const { return sockets_dropped_; }

 private:
  // Sockets that one run keeps; beyond, their bytes are in the account and not in the list.
  static constexpr std::size_t kMaxSockets = 16384;

  std::unordered_map<std::uint64_t, weir_usage> sockets_;  // by cookie, its latest totals
  std::size_t open_ = 0;
  std::uint64_t sockets_dropped_ = 0;
};

}  // namespace weir
