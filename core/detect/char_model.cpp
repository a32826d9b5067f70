// Trains the order-2 model once and prices labels with it. No allocation after construction.
#include "core/detect/char_model.h"

#include <algorithm>
#include <cmath>

namespace weir {
namespace {

constexpr unsigned kEnd = 38;    // end of a label, and what stands before its start
constexpr unsigned kOther = 39;  // any other byte: 8 bits more say which
constexpr unsigned kN = CharModel::kSymbols;

unsigned symbol_of(char c) {
  if (c >= 'a' && c <= 'z') return static_cast<unsigned>(c - 'a');
  if (c >= '0' && c <= '9') return 26 + static_cast<unsigned>(c - '0');
  if (c == '-') return 36;
  if (c == '_') return 37;
  return kOther;
}

constexpr std::size_t at(unsigned a, unsigned b, unsigned c) {
  return (std::size_t{a} * kN + b) * kN + c;
}

struct Tally {
  std::vector<double> three = std::vector<double>(std::size_t{kN} * kN * kN);
  std::vector<double> two = std::vector<double>(std::size_t{kN} * kN);
  std::array<double, kN> one{};
  std::vector<double> before_three = std::vector<double>(std::size_t{kN} * kN);
  std::array<double, kN> before_two{};
  double all = 0;

  void add(unsigned a, unsigned b, unsigned c) {
    three[at(a, b, c)] += 1;
    before_three[std::size_t{a} * kN + b] += 1;
    two[std::size_t{b} * kN + c] += 1;
    before_two[b] += 1;
    one[c] += 1;
    all += 1;
  }
  // Each order is mixed with the one below it by how much was seen: kTrust symbols of the lower.
  double chance(unsigned a, unsigned b, unsigned c) const {
    constexpr double kTrust = 6;
    const double flat = (one[c] + kTrust / kN * 10) / (all + kTrust * 10);
    const double pair = (two[std::size_t{b} * kN + c] + kTrust * flat) / (before_two[b] + kTrust);
    return (three[at(a, b, c)] + kTrust * pair) / (before_three[std::size_t{a} * kN + b] + kTrust);
  }
};

// A flat code: log2 of the alphabet for each character.
struct Alphabet {
  Cost each;
  bool (*holds)(char c);
};

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_hex(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'f');
}
bool is_letter(char c) {
  return c >= 'a' && c <= 'z';
}
bool is_base32(char c) {
  return is_letter(c) || (c >= '2' && c <= '7');
}
bool is_host(char c) {
  return is_letter(c) || is_digit(c) || c == '-';
}
bool is_any(char) {
  return true;
}

// log2 of 10, 16, 32, 37 and 256, in sixteenths, rounded up.
constexpr std::array<Alphabet, 5> kAlphabets = {
    {{54, is_digit}, {64, is_hex}, {80, is_base32}, {84, is_host}, {128, is_any}}};
constexpr Cost kWhichCode = 3 * kOneBit;    // the model, one of five alphabets, or a known label
constexpr Cost kLabelLength = 6 * kOneBit;  // 1 to 63; the model says its own end

}  // namespace

Cost log2_cost(std::uint32_t n) {
  if (n < 2) return 0;
  return static_cast<Cost>(std::ceil(std::log2(static_cast<double>(n)) * kOneBit));
}

CharModel::CharModel(std::string_view words) : cost_(std::size_t{kN} * kN * kN) {
  Tally tally;
  while (!words.empty()) {
    const std::size_t blank = std::min(words.find_first_of(" \n"), words.size());
    unsigned a = kEnd, b = kEnd;
    for (char letter : words.substr(0, blank)) {
      tally.add(a, b, symbol_of(letter));
      a = b;
      b = symbol_of(letter);
    }
    if (blank > 0) tally.add(a, b, kEnd);
    words.remove_prefix(std::min(blank + 1, words.size()));
  }
  for (unsigned a = 0; a < kN; ++a)
    for (unsigned b = 0; b < kN; ++b)
      for (unsigned c = 0; c < kN; ++c) {
        const double bits = -std::log2(tally.chance(a, b, c));
        cost_[at(a, b, c)] =
            static_cast<std::uint8_t>(std::clamp(std::ceil(bits * kOneBit), 1.0, 255.0));
      }
}

const CharModel& CharModel::built_in() {
  static const CharModel model(kCommonLabels);
  return model;
}

Cost CharModel::letters(std::string_view label) const {
  Cost sum = 0;
  unsigned a = kEnd, b = kEnd;
  for (char letter : label) {
    const unsigned c = symbol_of(letter);
    sum += cost_[at(a, b, c)] + (c == kOther ? 8 * kOneBit : 0);
    a = b;
    b = c;
  }
  return sum + cost_[at(a, b, kEnd)];
}

Cost CharModel::cheapest(std::string_view label) const {
  Cost best = letters(label);
  for (const Alphabet& alphabet : kAlphabets) {
    if (!std::all_of(label.begin(), label.end(), alphabet.holds)) continue;
    best = std::min(best, kLabelLength + alphabet.each * static_cast<Cost>(label.size()));
    break;  // the alphabets are sorted: the first that holds the label is the cheapest
  }
  return best + kWhichCode;
}

}  // namespace weir
