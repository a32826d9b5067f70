// The kernel's bound on where the uplink speaks to: an allow list on a cgroup of its own, for IPv4
// and IPv6, streams, datagrams and raw packets, loopback too. It holds while this object lives.
// Thread: one owner.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/event/address.h"

namespace weir {

struct CagePlace {
  enum class Protocol : std::uint8_t { tcp = 6, udp = 17 };
  Endpoint to;
  Protocol protocol = Protocol::tcp;
};

struct CageCounters {
  std::uint64_t passed = 0, dropped = 0;  // packets
};

class UplinkCage {
 public:
  static Result<UplinkCage> load(const std::string& cgroup);  // nothing may leave yet
  UplinkCage(UplinkCage&&) noexcept;
  UplinkCage& operator=(UplinkCage&&) noexcept;
  ~UplinkCage();

  // These and no others. New ones are let through before old ones are shut.
  Result<void> allow(const std::vector<CagePlace>& places);
  CageCounters counters() const;

 private:
  struct State;
  explicit UplinkCage(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace weir
