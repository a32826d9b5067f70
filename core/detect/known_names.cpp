// Reads the grammars and fits names to them.
#include "core/detect/known_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

namespace weir {
namespace {

bool is_dec(char c) {
  return c >= '0' && c <= '9';
}
bool is_hex(char c) {
  return is_dec(c) || (c >= 'a' && c <= 'f');
}
bool is_alnum(char c) {
  return is_dec(c) || (c >= 'a' && c <= 'z');
}
bool is_host(char c) {
  return is_alnum(c) || c == '-';
}

struct Class {
  std::string_view name;
  bool (*holds)(char);
};
constexpr Class kClasses[] = {
    {"dec", is_dec}, {"hex", is_hex}, {"alnum", is_alnum}, {"host", is_host}};

struct Type {
  std::string_view name;
  std::uint16_t number;
};
constexpr Type kTypes[] = {{"A", 1}, {"PTR", 12}, {"TXT", 16}, {"AAAA", 28}, {"HTTPS", 65}};

// Takes the text up to `end` off the front, and `end` with it.
std::string_view take(std::string_view& text, char end) {
  const std::size_t at = std::min(text.find(end), text.size());
  const std::string_view part = text.substr(0, at);
  text.remove_prefix(std::min(at + 1, text.size()));
  return part;
}

std::optional<std::size_t> number(std::string_view text) {
  std::size_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

bool range(std::string_view text, std::size_t& min, std::size_t& max) {
  const auto low = number(take(text, '-')), high = number(text);
  if (!low || !high || *low > *high || *high > kMaxLabels) return false;
  min = *low;
  max = *high;
  return true;
}

std::vector<std::string_view> words_of(std::string_view line) {
  std::vector<std::string_view> words;
  while (!line.empty())
    if (const std::string_view word = take(line, ' '); !word.empty()) words.push_back(word);
  return words;
}

bool host_characters(std::string_view label) {
  return std::all_of(label.begin(), label.end(), is_host);
}

}  // namespace

bool KnownNames::parse_label(std::string_view text, Label& label) {
  while (!text.empty()) {
    if (text.front() != '<') {
      if (!is_host(text.front())) return false;
      label.push_back({text.front(), nullptr, 0, 0});
      text.remove_prefix(1);
      continue;
    }
    text.remove_prefix(1);
    std::string_view inside = take(text, '>');
    const std::string_view name = take(inside, ':');
    const auto found = std::find_if(std::begin(kClasses), std::end(kClasses),
                                    [&](const Class& c) { return c.name == name; });
    Piece piece;
    if (found == std::end(kClasses) || !range(inside, piece.min, piece.max)) return false;
    piece.holds = found->holds;
    label.push_back(piece);
  }
  return !label.empty();
}

Result<KnownNames::Grammar> KnownNames::parse_pattern(std::string_view pattern) {
  Grammar grammar;
  const auto starts = [&](std::string_view word) { return pattern.substr(0, word.size()) == word; };
  if (starts("<hostname>")) {
    grammar.hostname = true;
    grammar.least = 2;
    grammar.most = kMaxLabels;
    take(pattern, '.');
  } else if (starts("<labels:")) {
    std::string_view inside = take(pattern, '.');
    take(inside, ':');
    if (inside.empty() || inside.back() != '>') return fail("'<labels:' has no end");
    inside.remove_suffix(1);
    if (!range(inside, grammar.least, grammar.most)) return fail("labels need MIN-MAX");
  }
  while (!pattern.empty()) {
    const std::string_view text = take(pattern, '.');
    if (!parse_label(text, grammar.fixed.emplace_back()))
      return fail(fmt::format("'{}' is no label of a pattern", text));
  }
  return grammar;
}

Result<KnownNames> KnownNames::parse(std::string_view text) {
  KnownNames names;
  for (std::size_t line_number = 1; !text.empty(); ++line_number) {
    const std::string_view line = take(text, '\n');
    const auto words = words_of(line);
    if (words.empty() || words[0].front() == '#') continue;
    const auto wrong = [&](std::string_view what) {
      return fail(fmt::format("known names line {}: {}", line_number, what));
    };
    if (words.size() != 4) return wrong("a line is zone, types, bytes and pattern");
    auto grammar = parse_pattern(words[3]);
    if (!grammar) return wrong(grammar.error().sentence);
    const auto bytes = number(words[2]);
    if (!bytes || *bytes == 0 || *bytes > 1u << 20) return wrong("bytes are 1 to 1048576");
    grammar->bytes = static_cast<std::uint32_t>(*bytes);
    for (std::string_view types = words[1]; !types.empty();) {
      const std::string_view type = take(types, ',');
      const auto found = std::find_if(std::begin(kTypes), std::end(kTypes),
                                      [&](const Type& t) { return t.name == type; });
      if (found == std::end(kTypes)) return wrong(fmt::format("'{}' is no type", type));
      grammar->types.push_back(found->number);
    }
    names.zones_[std::string(words[0])].push_back(std::move(*grammar));
  }
  return names;
}

const KnownNames& KnownNames::built_in() {
  static const KnownNames names = [] {
    auto parsed = parse(kKnownNamesText);
    WEIR_CHECK(parsed);
    return std::move(*parsed);
  }();
  return names;
}

// A label has at most 63 characters and a pattern few classes, so trying each length is cheap.
bool KnownNames::fits(const Label& label, std::size_t piece, std::string_view text) {
  if (piece == label.size()) return text.empty();
  const Piece& p = label[piece];
  if (p.holds == nullptr)
    return !text.empty() && text.front() == p.literal && fits(label, piece + 1, text.substr(1));
  std::size_t held = 0;
  while (held < text.size() && held < p.max && p.holds(text[held])) ++held;
  for (std::size_t taken = held + 1; taken-- > p.min;)
    if (fits(label, piece + 1, text.substr(taken))) return true;
  return false;
}

bool KnownNames::fits(const Grammar& grammar, Labels labels) {
  if (labels.size() < grammar.fixed.size()) return false;
  const std::size_t before = labels.size() - grammar.fixed.size();
  if (before < grammar.least || before > grammar.most) return false;
  for (std::size_t i = 0; i < grammar.fixed.size(); ++i)
    if (!fits(grammar.fixed[i], 0, labels[before + i])) return false;
  if (!std::all_of(labels.begin(), labels.begin() + static_cast<std::ptrdiff_t>(before),
                   host_characters))
    return false;
  if (!grammar.hostname) return true;
  std::string name;
  for (std::size_t i = 0; i < before; ++i) name.append(i > 0 ? "." : "").append(labels[i]);
  return take_labels(name).known_suffix;
}

std::uint32_t KnownNames::believed(std::string_view zone, Labels labels, std::uint16_t type) const {
  const auto found = zones_.find(zone);
  if (found == zones_.end()) return 0;
  for (const Grammar& grammar : found->second)
    if (std::find(grammar.types.begin(), grammar.types.end(), type) != grammar.types.end() &&
        fits(grammar, labels))
      return grammar.bytes;
  return 0;
}

}  // namespace weir
