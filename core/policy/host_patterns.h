// Host patterns in a trie of reversed labels: a pattern matches its host and every name below it.
// "*" stands for any run of characters inside one label, never in the last one.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace weir {

inline constexpr std::size_t kMaxHostLength = 253;  // RFC 1035, presentation form
inline constexpr std::size_t kMaxHostLabels = 127;

// True if `text` may stand in a policy or the catalogue: labels of letters, digits, "-" and "_"
// (and "*" if allowed), at most kMaxHostLength, the last label without "*".
bool is_host_pattern(std::string_view text, bool stars);

// `*` any run of characters of `label`; both in lower case.
bool label_matches(std::string_view pattern, std::string_view label);

// One pattern against one host, as the trie would.
bool host_matches(std::string_view pattern, std::string_view host);

class HostPatterns {
 public:
  HostPatterns();
  void add(std::string_view pattern, std::uint32_t value);  // is_host_pattern(pattern, true) holds

  struct Match {
    std::uint32_t value = 0;
    std::uint32_t labels = 0;   // of the pattern
    std::uint32_t literal = 0;  // characters of it that are not "*"
  };
  // Every pattern that matches `host`, in no particular order. Case and a final dot don't matter;
  // what is no host (empty labels, over-long) matches nothing.
  void find(std::string_view host, std::vector<Match>& out) const;

 private:
  struct Node {
    std::map<std::string, std::uint32_t, std::less<>> exact;
    std::vector<std::pair<std::string, std::uint32_t>> starred;
    std::vector<std::uint32_t> values;
  };
  void walk(std::uint32_t node, const std::vector<std::string_view>& labels, std::size_t depth,
            std::uint32_t literal, std::vector<Match>& out) const;

  std::vector<Node> nodes_;
};

}  // namespace weir
