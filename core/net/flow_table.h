// The bounded table of flows: found by both directions' addresses, ordered by idleness.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "core/net/flows.h"
#include "core/net/tcp.h"

namespace weir {

// Kept while the first bytes of a TCP flow are still wanted.
struct Opening {
  std::array<std::optional<StreamStart>, 2> streams;  // [0]: of the client
  std::array<std::uint32_t, 2> base{};                // sequence of the first byte, if `based`
  std::array<bool, 2> based{};
  std::uint16_t packets = 0;  // with payload
  bool dns = false;           // framed DNS messages: read to the flow's end
};

// held: a stream with a ledger. The kernel tells when it closes, and only its first bytes named it:
// it is never idle for too long, only evicted.
enum class Idleness : std::uint8_t { closed, datagram, stream, held, count_ };

struct FlowEntry {
  Flow flow;
  std::array<SequenceCount, 2> sent;  // [0]: by the client
  std::unique_ptr<Opening> opening;
  std::uint32_t hash = 0;
  std::uint32_t newer = 0, older = 0;  // neighbours in the list of its idleness
  Idleness idleness = Idleness::stream;
  std::array<bool, 2> syn{}, fin{};
  bool dns = false;            // datagrams: each one is a DNS message
  std::uint8_t datagrams = 0;  // looked at
  bool used = false;
};

// Slots never move, so pointers to entries stay good until the entry is removed.
class FlowTable {
 public:
  static constexpr std::uint32_t kNone = 0xffffffff;

  std::uint32_t find(const Endpoint& a, const Endpoint& b, Transport t, std::uint64_t cookie) const;
  // The key's endpoints may come in either order, here and above.
  std::uint32_t insert(const FlowKey& key, std::uint64_t cookie, Idleness idleness);
  void remove(std::uint32_t slot);
  void touch(std::uint32_t slot, Idleness idleness);  // the newest of its list now
  std::uint32_t oldest(Idleness idleness) const {
    return lists_[static_cast<std::size_t>(idleness)].oldest;
  }
  FlowEntry& operator[](std::uint32_t slot) { return slots_[slot]; }
  std::size_t size() const { return size_; }
  std::vector<std::uint32_t> by_serial() const;

 private:
  struct List {
    std::uint32_t newest = kNone, oldest = kNone;
  };
  void unlink(std::uint32_t slot);
  void link(std::uint32_t slot);
  void grow();
  void place(std::uint32_t slot);

  std::deque<FlowEntry> slots_;
  std::vector<std::uint32_t> free_;
  struct Bucket {
    std::uint32_t slot = kNone, hash = 0;
  };
  std::vector<Bucket> buckets_;  // open addressing, a power of two, at most half full
  std::array<List, static_cast<std::size_t>(Idleness::count_)> lists_;
  std::size_t size_ = 0;
};

}  // namespace weir
