// Splits names into labels and finds their suffix in the public suffix list.
#include "core/detect/dns_labels.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/base/text.h"
#include "core/net/suffix.h"

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

bool is_octet(std::string_view label) {
  if (label.empty() || label.size() > 3 || !std::all_of(label.begin(), label.end(), is_digit))
    return false;
  if (label.size() > 1 && label[0] == '0') return false;
  int value = 0;
  for (const char c : label) value = value * 10 + (c - '0');
  return value <= 255;
}

bool is_nibble(std::string_view label) {
  return label.size() == 1 && (is_digit(label[0]) || (label[0] >= 'a' && label[0] <= 'f'));
}

}  // namespace

void DnsLabels::find_zone(Suffixes* suffixes) {
  const std::size_t count = size();
  const char* const end = count == 0 ? bytes_.data() : labels.back().data() + labels.back().size();
  std::size_t suffix_at = count;
  for (std::size_t depth = 1; depth <= std::min(count, kMaxSuffixLabels); ++depth) {
    const std::string_view label = labels[count - depth];
    // A label with bytes that no suffix has ends the search; libpsl takes C strings.
    if (!plain && label.find_first_of(std::string_view("\0.", 2)) != std::string_view::npos) break;
    const std::string_view tail(label.data(), static_cast<std::size_t>(end - label.data()));
    if (suffixes != nullptr ? suffixes->is_icann(tail) : is_icann_suffix(tail))
      suffix_at = count - depth;
  }
  known_suffix = suffix_at < count;
  zone_at =
      known_suffix ? suffix_at - (suffix_at > 0 ? 1 : 0) : count - std::min<std::size_t>(count, 2);
}

void DnsLabels::read(std::string_view name, Suffixes* suffixes) {
  labels.clear();
  plain = true;
  std::uint32_t upper = 0, lower = 0;
  std::size_t begin = 0, size = 0;  // of the label at hand; of what is written
  for (std::size_t i = 0; i < name.size() && labels.size() < kMaxLabels && size < kMaxText;) {
    if (name[i] == '.') {
      labels.emplace_back(&bytes_[begin], size - begin);
      bytes_[size++] = '.';
      begin = size;
      ++i;
      continue;
    }
    char c = unescape(name, i);
    if (c >= 'A' && c <= 'Z') {
      ++upper;
      c = static_cast<char>(c - 'A' + 'a');
    } else if (c >= 'a' && c <= 'z') {
      ++lower;
    } else if (c == '.' || !is_visible(static_cast<unsigned char>(c))) {
      plain = false;
    }
    bytes_[size++] = c;
  }
  if (size > begin && labels.size() < kMaxLabels) labels.emplace_back(&bytes_[begin], size - begin);
  bytes_[labels.empty() ? 0 : labels.back().data() + labels.back().size() - bytes_.data()] = 0;
  case_bits = upper > 0 && lower > 0 ? upper + lower : 0;
  find_zone(suffixes);
}

std::string_view DnsLabels::plain_text(std::size_t from, std::size_t to) const {
  to = std::min(to, size());
  if (from >= to) return {};
  const char* const begin = labels[from].data();
  return {begin, static_cast<std::size_t>(labels[to - 1].data() + labels[to - 1].size() - begin)};
}

std::string DnsLabels::text(std::size_t from, std::size_t to) const {
  if (plain) return std::string(plain_text(from, to));
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
  return std::all_of(labels.begin(), labels.begin() + 4, is_octet) ? 4 : 0;
}

}  // namespace weir
