// Whom a host takes policies from: see trust.h.
#include "agent/guard/trust.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

#include "core/base/hex.h"

namespace weir {
namespace {

constexpr std::string_view kFirstLine = "weir trust 1";

std::vector<std::string_view> words_of(std::string_view line) {
  std::vector<std::string_view> words;
  while (!line.empty()) {
    std::size_t end = std::min(line.find(' '), line.size());
    words.push_back(line.substr(0, end));
    line.remove_prefix(std::min(end + 1, line.size()));
  }
  return words;
}

template <class T>
std::optional<T> number_of(std::string_view word) {
  T number{};
  auto [end, code] = std::from_chars(word.data(), word.data() + word.size(), number);
  if (code != std::errc{} || end != word.data() + word.size()) return std::nullopt;
  return number;
}

template <std::size_t N>
std::optional<std::array<std::uint8_t, N>> bytes_of_hex(std::string_view word) {
  std::array<std::uint8_t, N> bytes{};
  if (word.size() != 2 * N) return std::nullopt;
  for (std::size_t n = 0; n < N; ++n) {
    const char* at = word.data() + 2 * n;
    auto [end, code] = std::from_chars(at, at + 2, bytes[n], 16);
    if (code != std::errc{} || end != at + 2) return std::nullopt;
  }
  return bytes;
}

const char* damage_of_groups(const PolicyTrust& trust) {
  if (trust.joined_wall_ms < 0) return "it joined its group at no time";
  if (trust.had.size() > kMaxGroupsHad) return "more groups of before than are kept";
  for (const GroupPolicy& one : trust.had) {
    if (one.group.empty() || one.group.size() > kMaxGroup || one.number == 0)
      return "a group of before without name or number";
    for (char c : one.group)
      if (static_cast<unsigned char>(c) <= ' ' || c == 0x7f) return "a group with white space";
    for (const GroupPolicy& other : trust.had)
      if (&other != &one && other.group == one.group) return "a group of before stands there twice";
  }
  return nullptr;
}

const char* damage_of(const PolicyTrust& trust) {
  if (trust.group.empty() || trust.group.size() > kMaxGroup)
    return "no group of 1 to 64 characters";
  for (char c : trust.group)
    if (static_cast<unsigned char>(c) <= ' ' || c == 0x7f) return "a group with white space";
  if (trust.host.size() > kMaxGroup) return "a host of more than 64 characters";
  for (char c : trust.host)
    if (static_cast<unsigned char>(c) <= ' ' || c == 0x7f) return "a host with white space";
  if (trust.number == 0) return "its number is none";
  if (const char* damage = damage_of_groups(trust)) return damage;
  if (trust.keys.empty() || trust.keys.size() > kMaxTrustedKeys) return "not 1 to 8 keys";
  if (trust.threshold == 0 || trust.threshold > trust.keys.size())
    return "the threshold is not between 1 and the number of keys";
  for (std::size_t n = 0; n < trust.keys.size(); ++n) {
    if (policy_key_id(trust.keys[n].key) != trust.keys[n].id)
      return "a key is not the one it names";
    for (std::size_t m = 0; m < n; ++m)
      if (trust.keys[m].key == trust.keys[n].key) return "a key stands there twice";
  }
  return nullptr;
}

// Lines that only a host has that was put into another group. False: it is another line, or none.
bool take_group_line(const std::vector<std::string_view>& words, PolicyTrust& trust) {
  if (words.size() == 2 && words[0] == "joined" && trust.joined_wall_ms == 0) {
    trust.joined_wall_ms = number_of<std::int64_t>(words[1]).value_or(0);
    return trust.joined_wall_ms > 0;
  }
  if (words.size() == 2 && words[0] == "least" && trust.least == 0) {
    trust.least = number_of<std::uint32_t>(words[1]).value_or(0);
    return trust.least > 0;
  }
  if (words.size() != 3 || words[0] != "had" || trust.had.size() >= kMaxGroupsHad) return false;
  trust.had.push_back({std::string(words[2]), number_of<std::uint32_t>(words[1]).value_or(0)});
  return true;
}

std::optional<TrustedKey> key_of(const std::vector<std::string_view>& words) {
  if (words.size() != 4) return std::nullopt;
  auto id = bytes_of_hex<8>(words[1]);
  auto key = bytes_of_hex<32>(words[2]);
  auto expires = number_of<std::int64_t>(words[3]);
  if (!id || !key || !expires || *expires < 0) return std::nullopt;
  return TrustedKey{*id, *key, *expires};
}

}  // namespace

std::uint32_t PolicyTrust::least_number() const {
  std::uint32_t highest = least;
  for (const GroupPolicy& one : had)
    if (one.group == group) highest = std::max(highest, one.number);
  return highest;
}

bool PolicyTrust::was_in(std::string_view of_group) const {
  return of_group == group ||
         std::ranges::any_of(had, [&](const GroupPolicy& one) { return one.group == of_group; });
}

Result<PolicyTrust> read_trust(std::string_view text) {
  if (text.size() > kMaxTrustBytes) return fail("trust: larger than 4096 bytes");
  PolicyTrust trust;
  bool first = true, has_threshold = false, has_number = false;
  while (!text.empty()) {
    std::size_t end = text.find('\n');
    if (end == std::string_view::npos) return fail("trust: its last line is cut");
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end + 1);
    if (std::exchange(first, false)) {
      if (line != kFirstLine) return fail("trust: not a trust file of this version");
      continue;
    }
    std::vector<std::string_view> words = words_of(line);
    if (words.empty()) return fail("trust: an empty line");
    if (words.size() == 2 && words[0] == "group" && trust.group.empty()) {
      trust.group = words[1];
    } else if (words.size() == 2 && words[0] == "host" && trust.host.empty() && !words[1].empty()) {
      trust.host = words[1];
    } else if (words.size() == 2 && words[0] == "number" && !has_number) {
      trust.number = number_of<std::uint32_t>(words[1]).value_or(0);
      has_number = true;
    } else if (words.size() == 2 && words[0] == "threshold" && !has_threshold) {
      trust.threshold = number_of<std::uint32_t>(words[1]).value_or(0);
      has_threshold = true;
    } else if (std::optional<TrustedKey> key; words[0] == "key" && (key = key_of(words))) {
      trust.keys.push_back(*key);
    } else if (!take_group_line(words, trust)) {
      return fail("trust: a line is not as it must be");
    }
  }
  if (first || !has_threshold) return fail("trust: it ends before its threshold");
  if (const char* damage = damage_of(trust)) return fail(fmt::format("trust: {}", damage));
  return trust;
}

Result<std::string> write_trust(const PolicyTrust& trust) {
  if (const char* damage = damage_of(trust)) return fail(fmt::format("trust: {}", damage));
  std::string text = fmt::format("{}\n", kFirstLine);
  if (!trust.host.empty()) text += fmt::format("host {}\n", trust.host);
  text += fmt::format("group {}\nnumber {}\nthreshold {}\n", trust.group, trust.number,
                      trust.threshold);
  if (trust.joined_wall_ms != 0) text += fmt::format("joined {}\n", trust.joined_wall_ms);
  if (trust.least != 0) text += fmt::format("least {}\n", trust.least);
  for (const GroupPolicy& one : trust.had)
    text += fmt::format("had {} {}\n", one.number, one.group);
  for (const TrustedKey& key : trust.keys)
    text += fmt::format("key {} {} {}\n", hex_of(key.id), hex_of(key.key), key.expires_wall_s);
  return text;
}

}  // namespace weir
