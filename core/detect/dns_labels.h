// A question's name taken apart for counting: labels as bytes in lower case, and where the
// registered domain (public suffix list, ICANN part) starts.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace weir {

inline constexpr std::size_t kMaxLabels = 127;  // RFC 1035: 255 bytes, two for the shortest label

struct DnsLabels {
  std::vector<std::string> labels;  // leftmost first, bytes as on the wire but in lower case
  std::size_t zone_at = 0;          // index of the registered domain's first label
  bool known_suffix = false;        // the name ends in a suffix that the list holds
  std::uint32_t case_bits = 0;      // letters, if both cases occur: what their case could say

  // Presentation form of labels [from, to): printable, anything else as \DDD.
  std::string text(std::size_t from, std::size_t to) const;
  std::size_t size() const { return labels.size(); }
};

// `name` is DnsQuestion::name: labels joined by dots, odd bytes escaped as \DDD.
DnsLabels take_labels(std::string_view name);

// The first four labels are an IPv4 address or the first 32 an IPv6 one, written backwards: block
// lists and reverse DNS. The number of labels that the address takes, else 0.
std::size_t reversed_address(const DnsLabels& name);

}  // namespace weir
