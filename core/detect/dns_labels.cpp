// Splits names into labels and finds their suffix in the public suffix list.
#include "core/detect/dns_labels.h"

#include <fmt/format.h>
#include <libpsl.h>

#include <algorithm>

namespace weir {
namespace {

constexpr std::size_t kMaxSuffixLabels = 5;  // the longest rule of the list's ICANN part has 4

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// Reads one character of the presentation form at `i` and moves past it.
char unescape(std::string_view name, std::size_t& i) {
  if (name[i] != '\\' || i + 1 >= name.size()) return name[i++];
  if (i + 3 < name.size() && is_digit(name[i + 1]) && is_digit(name[i + 2]) &&
      is_digit(name[i + 3])) {
    const int value = (name[i + 1] - '0') * 100 + (name[i + 2] - '0') * 10 + (name[i + 3] - '0');
    i += 4;
    return static_cast<char>(value & 0xff);
  }
  i += 2;
  return name[i - 1];
}

bool is_suffix(const std::string& name) {
  return psl_is_public_suffix2(psl_builtin(), name.c_str(),
                               PSL_TYPE_ICANN | PSL_TYPE_NO_STAR_RULE) == 1;
}

void find_zone(DnsLabels& name) {
  const std::size_t count = name.size();
  std::string tail;
  std::size_t suffix_at = count;
  for (std::size_t depth = 1; depth <= std::min(count, kMaxSuffixLabels); ++depth) {
    const std::string& label = name.labels[count - depth];
    // A label with bytes that no suffix has ends the search; libpsl takes C strings.
    if (label.find_first_of(std::string_view("\0.", 2)) != std::string::npos) break;
    if (depth > 1) tail.insert(0, 1, '.');
    tail.insert(0, label);
    if (is_suffix(tail)) suffix_at = count - depth;
  }
  name.known_suffix = suffix_at < count;
  name.zone_at = name.known_suffix ? suffix_at - (suffix_at > 0 ? 1 : 0)
                                   : count - std::min<std::size_t>(count, 2);
}

int number(const std::string& label, int max) {
  if (label.empty() || label.size() > 3 || !std::all_of(label.begin(), label.end(), is_digit))
    return -1;
  if (label.size() > 1 && label[0] == '0') return -1;
  const int value = std::stoi(label);
  return value <= max ? value : -1;
}

bool is_nibble(const std::string& label) {
  return label.size() == 1 && (is_digit(label[0]) || (label[0] >= 'a' && label[0] <= 'f'));
}

}  // namespace

DnsLabels take_labels(std::string_view name) {
  DnsLabels out;
  std::uint32_t upper = 0, lower = 0;
  std::string label;
  for (std::size_t i = 0; i < name.size() && out.size() < kMaxLabels;) {
    if (name[i] == '.') {
      out.labels.push_back(std::move(label));
      label.clear();
      ++i;
      continue;
    }
    char c = unescape(name, i);
    if (c >= 'A' && c <= 'Z') {
      ++upper;
      c = static_cast<char>(c - 'A' + 'a');
    } else if (c >= 'a' && c <= 'z') {
      ++lower;
    }
    label.push_back(c);
  }
  if (!label.empty() && out.size() < kMaxLabels) out.labels.push_back(std::move(label));
  if (upper > 0 && lower > 0) out.case_bits = upper + lower;
  find_zone(out);
  return out;
}

std::string DnsLabels::text(std::size_t from, std::size_t to) const {
  std::string out;
  for (std::size_t i = from; i < std::min(to, size()); ++i) {
    if (i > from) out += '.';
    for (const char c : labels[i]) {
      if (c > ' ' && c < 0x7f && c != '.' && c != '\\') {
        out += c;
      } else {
        out += fmt::format("\\{:03}", static_cast<unsigned>(static_cast<unsigned char>(c)));
      }
    }
  }
  return out;
}

std::size_t reversed_address(const DnsLabels& name) {
  const auto& labels = name.labels;
  if (labels.size() > 32 && std::all_of(labels.begin(), labels.begin() + 32, is_nibble)) return 32;
  if (labels.size() <= 4) return 0;
  const bool address = std::all_of(labels.begin(), labels.begin() + 4,
                                   [](const std::string& l) { return number(l, 255) >= 0; });
  return address ? 4 : 0;
}

}  // namespace weir
