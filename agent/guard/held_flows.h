// Flows that wait for an answer, as the guard ends them: when each must go on or be closed, and how
// many of one person there are. The kernel holds them; this only remembers. A fixed table, no
// allocation after the start. Thread: one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "core/policy/policy.h"
#include "platform/linux/bpf/weir_abi.h"

namespace weir {

struct HeldFlow {
  std::uint64_t cookie = 0;
  std::uint64_t tree = 0, destination = 0;
  std::uint64_t until_ns = 0;  // boot time at which its rule's `otherwise` happens
  weir_tuple tuple{};
  std::uint32_t account = 0;  // of its row, in account keys
  std::uint32_t row = 0;      // of the policy in force
  std::uint32_t person = 0, pid = 0;
};

// What one answer is about.
struct HeldPlace {
  std::uint32_t account = 0;
  std::uint64_t tree = 0, destination = 0;
};

class HeldFlows {
 public:
  static constexpr std::size_t kMax = WEIR_HOLDS;

  HeldFlows() { flows_.reserve(kMax); }

  enum class Taken : std::uint8_t {
    yes,
    known,    // it waits already
    too_many  // kMaxHeldOfPerson of this person do, or kMax of all
  };
  Taken add(const HeldFlow& flow);
  bool remove(std::uint64_t cookie);
  std::optional<HeldFlow> take_due(std::uint64_t now_ns);  // forgets it
  // The oldest that waits for that answer; forgets it.
  std::optional<HeldFlow> take_at(const HeldPlace& place);
  // One of that place, without forgetting it.
  const HeldFlow* find(const HeldPlace& place) const;
  std::optional<std::uint64_t> next_due_ns() const;
  std::vector<HeldFlow>& all() { return flows_; }
  const std::vector<HeldFlow>& all() const { return flows_; }

 private:
  std::vector<HeldFlow> flows_;  // as they came
};

}  // namespace weir
