// The interfaces that the policy's networks name, and which index each has now. A person can't make
// one in this network namespace; a VPN makes and removes its own at any time, so the kernel is
// listened to: what it says is not read, only taken as a reason to look again.
// Thread: the guard's.
#pragma once

#include <net/if.h>

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "agent/guard/flat_policy.h"

namespace weir {

class Interfaces {
 public:
  explicit Interfaces(std::span<const FlatInterface> names);  // at most kFlatInterfaces
  ~Interfaces();
  Interfaces(const Interfaces&) = delete;
  Interfaces& operator=(const Interfaces&) = delete;

  int fd() const { return fd_; }  // readable when one may have changed; -1: look once a second
  void look();                    // asks the kernel for every index

  // Calls tell(name, index) for each that was not told yet as it is now; false: it was not heard,
  // and is told again next time.
  template <class Tell>
  void tell_changed(Tell&& tell) {
    for (std::size_t n = 0; n < count_; ++n)
      if (told_[n] != static_cast<std::int64_t>(index_[n]) && tell(names_[n], index_[n]))
        told_[n] = index_[n];
  }
  void forget_told() { told_.fill(-1); }  // a new engine knows none

 private:
  std::array<FlatInterface, kFlatInterfaces> names_{};
  std::array<std::uint32_t, kFlatInterfaces> index_{};
  std::array<std::int64_t, kFlatInterfaces> told_{};
  std::size_t count_ = 0;
  int fd_ = -1;
};

}  // namespace weir
