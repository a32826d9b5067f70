// Names of addresses, learnt from DNS answers: per client, for the answer's TTL and a grace.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/event/address.h"
#include "core/net/dns.h"

namespace weir {

// An address that an answer leads to from its question, over CNAMEs, and for how long.
struct NamedAddress {
  IpAddress address;
  std::uint32_t ttl_s = 0;  // the shortest on the way
};
// Nothing for what is no answer, or one that failed. Records off the way are not taken.
std::vector<NamedAddress> addresses_of(const DnsMessage& response);

class AddressNames {
 public:
  static constexpr std::size_t kMaxAddresses = 65536;  // the longest unused gives way
  static constexpr std::size_t kMaxNames = 32;         // of one address, over all clients
  static constexpr std::int64_t kGrace = 300;          // s; programs keep answers beyond their TTL
  static constexpr std::int64_t kMaxTtl = 86400;       // s; resolvers cap there too (RFC 8767)

  // Every address that the answers lead to from the question, by CNAMEs, gets the question's name.
  // `client` zero: any client's.
  void learn(const IpAddress& client, const DnsMessage& response, std::int64_t now_ns);
  // Newest first. Names learnt for any client count for each; `client` zero asks for all.
  std::vector<std::string> find(const IpAddress& client, const IpAddress& address,
                                std::int64_t now_ns) const;
  std::string newest(const IpAddress& client, const IpAddress& address, std::int64_t now_ns) const;
  std::uint64_t dropped() const { return dropped_; }
  AddressNames() { known_.max_load_factor(0.5f); }  // short chains: each step is a cache miss

 private:
  struct Name {
    IpAddress client;
    std::string name;
    std::int64_t until_ns;
  };
  struct Known {
    std::vector<Name> names;  // newest last
    std::list<IpAddress>::iterator age;
  };
  void add(const IpAddress& client, const IpAddress& address, const std::string& name,
           std::int64_t until_ns);

  struct Hash {  // may throw as far as the map knows: then it keeps hashes instead of remaking them
    std::size_t operator()(const IpAddress& address) const { return IpAddressHash{}(address); }
  };
  std::unordered_map<IpAddress, Known, Hash> known_;
  std::list<IpAddress> ages_;  // longest not learnt first
  std::uint64_t dropped_ = 0;
};

}  // namespace weir
