// What resolvers answered about addresses, and what of it is proven: an answer that a resolver of
// the policy gave, to a question of this host, over the network that the policy says.
// Thread: the line's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/event/event.h"
#include "core/net/flows.h"
#include "core/net/questions.h"
#include "core/policy/policy.h"
#include "core/policy/resolvers.h"

namespace weir {

// Addresses that a resolver answered with, and names of each. A desk learns a few hundred a day.
inline constexpr std::size_t kMaxAnswered = 16384;
inline constexpr std::size_t kMaxNamesOfAddress = 16;  // a front of many sites has more; newest win
// An answer holds for its TTL, but at least this long: clients connect again after it ran out.
inline constexpr std::int64_t kAnswerGraceNs = 300'000'000'000;
// And at most this long, as resolvers keep one themselves (RFC 8767).
inline constexpr std::int64_t kLongestAnswerNs = 86'400'000'000'000;
// A full table is searched for expired answers this often, not at each new address: a sweep reads
// all of it.
inline constexpr std::int64_t kSweepEveryNs = 10'000'000'000;
// Indexes that one interface had: a VPN that reconnects gets a new one each time.
inline constexpr std::size_t kMaxIndexes = 64;

struct Answered {
  std::string name;
  std::int64_t until_ns = 0;  // boot
  // Who said so last, by which interface: kept also where it proves nothing yet, for the policy
  // that comes next may name that resolver. One that proves it is not replaced by one that doesn't.
  IpAddress resolver;
  std::uint32_t via = 0;
  std::int64_t proof_until_ns = 0;
};

class Answers {
 public:
  // A new policy trusts other resolvers: what is remembered is weighed by it from now on.
  void take(const Policy& policy);
  void on(const InterfaceSeen& seen);
  // `live`: the host's own packets, each with its interface. In a capture nothing tells interfaces,
  // nor whose question it was: a resolver of the policy is believed by its address there.
  void be_live(bool live) { live_ = live; }

  // A message on a flow. Returns the addresses that something was learnt about.
  std::vector<IpAddress> learn(const Observation& seen, const DnsMessage& message, const Stamp& at);

  const Answered* find(const IpAddress& address, std::string_view name, const Stamp& at) const;
  std::vector<std::string> names_at(const IpAddress& address, const Stamp& at) const;
  // To which that name, or one below it, led.
  std::vector<IpAddress> addresses_within(std::string_view domain, const Stamp& at) const;
  bool proves(const Answered& answer, const Stamp& at) const;
  // Index of the interface that the proof came over, as it is now; 0: it is not there, or a
  // capture.
  std::uint32_t network_of(const Answered& answer) const;
  std::uint32_t index_of(const Policy& policy, std::string_view network) const;  // 0: not there

  const Resolvers& resolvers() const { return resolvers_; }
  bool is_live() const { return live_; }
  std::uint64_t dropped() const { return dropped_ + questions_.dropped(); }

 private:
  bool is_asked_for(const Observation& seen, const DnsMessage& message, const Stamp& at);
  Answered* place_for(const IpAddress& address, const std::string& name, const Stamp& at);
  const std::string* interface_that_proves(const IpAddress& resolver, std::uint32_t via) const;
  void forget_expired(const Stamp& at);

  Resolvers resolvers_{Policy{}};
  Questions questions_;
  std::map<std::string, std::vector<std::uint32_t>, std::less<>> indexes_;  // newest last, 0: gone
  std::unordered_map<IpAddress, std::vector<Answered>, IpAddressHash> answered_;
  std::int64_t sweep_after_ns_ = 0;  // boot
  bool live_ = false;
  std::uint64_t dropped_ = 0;
};

}  // namespace weir
