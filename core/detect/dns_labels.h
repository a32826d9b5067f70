// A question's name taken apart for counting: labels as bytes in lower case, and where the
// registered domain (public suffix list, ICANN part) starts.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace weir {

class Suffixes;

inline constexpr std::size_t kMaxLabels = 127;  // RFC 1035: 255 bytes, two for the shortest label

using Labels = std::span<const std::string_view>;

// Read anew for each question, so that nothing is allocated for one.
struct DnsLabels {
  DnsLabels() = default;
  explicit DnsLabels(std::string_view name) { read(name, nullptr); }
  DnsLabels(const DnsLabels&) = delete;  // the labels point into it
  DnsLabels& operator=(const DnsLabels&) = delete;

  // `name` is DnsQuestion::name: labels joined by dots, odd bytes escaped as \DDD.
  // `suffixes`: a memory to use, or null.
  void read(std::string_view name, Suffixes* suffixes);

  std::vector<std::string_view> labels;  // leftmost first, bytes as on the wire, in lower case
  std::size_t zone_at = 0;               // index of the registered domain's first label
  bool known_suffix = false;             // the name ends in a suffix that the list holds
  std::uint32_t case_bits = 0;           // letters, if both cases occur: what their case could say

  // Presentation form of labels [from, to): printable, anything else as \DDD.
  std::string text(std::size_t from, std::size_t to) const;
  // The same without a copy, where nothing in the name needs an escape: `plain`.
  std::string_view plain_text(std::size_t from, std::size_t to) const;
  Labels part(std::size_t from, std::size_t to) const {
    return Labels(labels).subspan(from, to - from);
  }
  std::size_t size() const { return labels.size(); }
  bool plain = false;

 private:
  // RFC 1035: 255 octets with the lengths and the root's. Longer text is no name and cut.
  static constexpr std::size_t kMaxText = 255;
  void find_zone(Suffixes* suffixes);
  std::array<char, kMaxText + 1> bytes_;  // labels joined by dots, and a zero
};

inline DnsLabels take_labels(std::string_view name) {
  return DnsLabels(name);
}

// The first four labels are an IPv4 address or the first 32 an IPv6 one, written backwards: block
// lists and reverse DNS. The number of labels that the address takes, else 0.
std::size_t reversed_address(const DnsLabels& name);

}  // namespace weir
