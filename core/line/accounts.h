// Accounts without a kernel: what the limits of a policy would have refused. Same semantics as the
// kernel part (platform/linux/bpf/weir_abi.h): a charge enters every account that it touches, or
// none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <unordered_map>

#include "core/event/event.h"
#include "core/policy/limit_table.h"
#include "core/policy/policy.h"

namespace weir {

// As many as the kernel part holds (WEIR_ACCOUNTS).
inline constexpr std::size_t kMaxAccounts = 65536;

// Who sends and where to. In a capture tree and person are the client's address, hashed.
struct Charge {
  std::uint64_t tree = 0;
  std::uint64_t person = 0;
  std::uint64_t destination = 0;
  std::uint64_t limits = 0;  // bit n: row n of Policy::limits
  std::uint64_t bytes = 0;
  std::uint64_t* flow = nullptr;  // what the flow sent under rows per flow; null: it has none
};

struct Refusal {
  std::uint32_t limit = 0;        // the first row without room
  std::uint64_t destination = 0;  // 0 where the row has none
  std::uint64_t spent = 0;        // charged to that account so far
};

class Accounts {
 public:
  // The rows that had no room; nothing: charged to all of them.
  std::optional<Refusal> charge(const Policy& policy, const Charge& charge, std::int64_t boot_ns);
  void clear() { accounts_.clear(); }
  std::uint64_t dropped() const { return dropped_; }

 private:
  struct Key {
    std::uint32_t limit = 0;
    std::uint64_t who = 0;
    std::uint64_t destination = 0;
    bool operator==(const Key&) const = default;
  };
  struct KeyHash {
    std::size_t operator()(const Key& key) const noexcept;
  };
  struct Account {
    std::uint64_t word = 0;     // windowed: theoretical arrival time (charge_window)
    std::uint64_t charged = 0;  // for ever
  };

  static Key key_of(const Limit& limit, std::uint32_t row, const Charge& charge);
  static bool has_room(const LimitRow& row, const Account& account, std::uint64_t bytes,
                       std::uint64_t now_ns, std::uint64_t& word);

  std::unordered_map<Key, Account, KeyHash> accounts_;
  std::uint64_t dropped_ = 0;
};

}  // namespace weir
