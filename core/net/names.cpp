// Names of addresses.
#include "core/net/names.h"

#include <algorithm>
#include <limits>

#include "core/net/domain.h"

namespace weir {
namespace {

constexpr std::uint16_t kA = 1, kCname = 5, kAaaa = 28;
constexpr std::int64_t kSecond = 1'000'000'000;

bool serves(const IpAddress& learnt_by, const IpAddress& client) {
  return learnt_by == client || learnt_by == IpAddress{} || client == IpAddress{};
}

// Whether `name` is `normal` but for case and a final dot.
bool is_same_host(std::string_view name, std::string_view normal) {
  if (!name.empty() && name.back() == '.') name.remove_suffix(1);
  return std::equal(name.begin(), name.end(), normal.begin(), normal.end(), [](char a, char b) {
    return (a >= 'A' && a <= 'Z' ? static_cast<char>(a | 0x20) : a) == b;
  });
}

}  // namespace

std::vector<NamedAddress> addresses_of(const DnsMessage& response) {
  std::vector<NamedAddress> found;
  if (!response.response || response.rcode != 0 || response.questions.empty()) return found;
  struct Reached {
    std::string name;
    std::uint32_t ttl_s;
  };
  std::vector<Reached> reached = {
      {normal_host(response.questions[0].name), std::numeric_limits<std::uint32_t>::max()}};
  if (reached[0].name.empty()) return found;
  // Servers put a CNAME before what it leads to, so one pass follows the chain.
  for (const DnsAnswer& answer : response.answers) {
    if (answer.type != kA && answer.type != kAaaa && answer.type != kCname) continue;
    const auto from = std::find_if(reached.begin(), reached.end(), [&](const Reached& r) {
      return is_same_host(answer.name, r.name);
    });
    if (from == reached.end()) continue;
    const std::uint32_t ttl_s = std::min(from->ttl_s, answer.ttl_s);
    if (answer.type == kCname)
      reached.push_back({normal_host(answer.target), ttl_s});
    else
      found.push_back({answer.address, ttl_s});
  }
  return found;
}

void AddressNames::learn(const IpAddress& client, const DnsMessage& response, std::int64_t now_ns) {
  for (const NamedAddress& answer : addresses_of(response)) {
    const std::int64_t ttl = std::min<std::int64_t>(answer.ttl_s, kMaxTtl);
    add(client, answer.address, normal_host(response.questions[0].name),
        now_ns + (ttl + kGrace) * kSecond);
  }
}

void AddressNames::add(const IpAddress& client, const IpAddress& address, const std::string& name,
                       std::int64_t until_ns) {
  auto [at, made] = known_.try_emplace(address);
  Known& known = at->second;
  if (made)
    known.age = ages_.insert(ages_.end(), address);
  else
    ages_.splice(ages_.end(), ages_, known.age);
  std::erase_if(known.names, [&](const Name& n) { return n.client == client && n.name == name; });
  if (known.names.size() == kMaxNames) {
    known.names.erase(known.names.begin());
    ++dropped_;
  }
  known.names.push_back({client, name, until_ns});
  if (known_.size() > kMaxAddresses) {
    known_.erase(ages_.front());
    ages_.pop_front();
    ++dropped_;
  }
}

std::vector<std::string> AddressNames::find(const IpAddress& client, const IpAddress& address,
                                            std::int64_t now_ns) const {
  std::vector<std::string> out;
  const auto at = known_.find(address);
  if (at == known_.end()) return out;
  for (auto n = at->second.names.rbegin(); n != at->second.names.rend(); ++n)
    if (n->until_ns >= now_ns && serves(n->client, client) &&
        std::find(out.begin(), out.end(), n->name) == out.end())
      out.push_back(n->name);
  return out;
}

std::string AddressNames::newest(const IpAddress& client, const IpAddress& address,
                                 std::int64_t now_ns) const {
  const auto at = known_.find(address);
  if (at == known_.end()) return "";
  for (auto n = at->second.names.rbegin(); n != at->second.names.rend(); ++n)
    if (n->until_ns >= now_ns && serves(n->client, client)) return n->name;
  return "";
}

}  // namespace weir
