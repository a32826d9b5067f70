// Bytes that a person reads to another: see spoken.h.
#include "core/base/spoken.h"

#include <fmt/format.h>

#include <array>

#include "core/base/sha256.h"

namespace weir {
namespace {

constexpr std::string_view kAlphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
constexpr std::size_t kCharacters = 4, kBits = 5;  // of a group, without its check
constexpr std::uint8_t kNone = 0xff;

std::uint8_t digit_of(char c) {
  if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  if (c == 'O') c = '0';
  if (c == 'I' || c == 'L') c = '1';
  const std::size_t at = kAlphabet.find(c);
  return at == std::string_view::npos ? kNone : static_cast<std::uint8_t>(at);
}

bool is_letter_or_digit(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// In the field of 32 elements, by x^5 + x^2 + 1.
std::uint8_t doubled(std::uint8_t a) {
  const int twice = a << 1;
  return static_cast<std::uint8_t>((twice & 32) != 0 ? twice ^ 0x25 : twice);
}

// Each place has another factor, and none is zero, so one wrong character always shows, and so do
// two that changed places. The group's own number is a fifth character that nobody says.
std::uint8_t check_of(const std::uint8_t* characters, std::size_t group) {
  std::uint8_t sum = 0;
  for (std::size_t n = 0; n <= kCharacters; ++n) {
    sum = doubled(sum);
    sum ^= n < kCharacters ? characters[n] : static_cast<std::uint8_t>(group + 1);
  }
  return doubled(sum);
}

// 20 bits of the digest of all, as the last group says.
std::array<std::uint8_t, kCharacters> last_of(Bytes bytes) {
  const auto digest = sha256(bytes);
  const std::uint32_t bits =
      std::uint32_t{digest[0]} << 16 | std::uint32_t{digest[1]} << 8 | std::uint32_t{digest[2]};
  std::array<std::uint8_t, kCharacters> out{};
  for (std::size_t n = 0; n < out.size(); ++n)
    out[n] = static_cast<std::uint8_t>(bits >> (19 - 5 * n) & 31);
  return out;
}

std::uint8_t bits_at(Bytes bytes, std::size_t first) {
  std::uint8_t value = 0;
  for (std::size_t bit = first; bit < first + kBits; ++bit) {
    const bool set = bit / 8 < bytes.size() && (bytes[bit / 8] >> (7 - bit % 8) & 1) != 0;
    value = static_cast<std::uint8_t>(value << 1 | (set ? 1 : 0));
  }
  return value;
}

}  // namespace

std::string spoken(Bytes bytes, std::size_t a_line) {
  const std::size_t groups = spoken_groups(bytes.size());
  WEIR_CHECK(groups <= kMaxSpokenGroups && a_line > 0);
  std::string text;
  for (std::size_t group = 0; group < groups; ++group) {
    std::array<std::uint8_t, kCharacters> characters{};
    for (std::size_t n = 0; n < kCharacters; ++n)
      characters[n] = bits_at(bytes, (group * kCharacters + n) * kBits);
    if (group + 1 == groups) characters = last_of(bytes);
    if (group != 0) text += group % a_line == 0 ? '\n' : ' ';
    for (std::uint8_t c : characters) text += kAlphabet[c];
    text += kAlphabet[check_of(characters.data(), group)];
  }
  return text;
}

namespace {

constexpr std::size_t kLength = kCharacters + 1;

struct Said {
  std::vector<std::uint8_t> digits, bytes;  // of what was said, whole groups of it
};

Result<Said> hear(std::string_view text, std::size_t size) {
  const std::size_t groups = spoken_groups(size);
  if (text.size() > kMaxSpokenText || groups > kMaxSpokenGroups) return fail("it is too long");
  Said said;
  std::vector<std::uint8_t>&digits = said.digits, &bytes = said.bytes;
  for (const char c : text) {
    if (!is_letter_or_digit(c)) continue;
    const std::uint8_t digit = digit_of(c);
    if (digit == kNone)
      return fail(
          fmt::format("group {}: {} is no character of it", digits.size() / kLength + 1, c));
    if (digits.size() == groups * kLength)
      return fail(fmt::format("it is too long: it has {} groups of five", groups));
    digits.push_back(digit);
  }
  bytes.resize(size);
  for (std::size_t group = 0; (group + 1) * kLength <= digits.size(); ++group) {
    const std::uint8_t* at = digits.data() + group * kLength;
    if (check_of(at, group) != at[kCharacters])
      return fail(fmt::format("group {} is mistyped", group + 1));
    for (std::size_t n = 0; group + 1 < groups && n < kCharacters * kBits; ++n) {
      const std::size_t bit = group * kCharacters * kBits + n;
      const bool set = (at[n / kBits] >> (kBits - 1 - n % kBits) & 1) != 0;
      if (set && bit / 8 >= size) return fail(fmt::format("group {} is mistyped", group + 1));
      if (set) bytes[bit / 8] |= static_cast<std::uint8_t>(1 << (7 - bit % 8));
    }
  }
  return said;
}

}  // namespace

std::string problem_so_far(std::string_view text, std::size_t size) {
  const Result<Said> said = hear(text, size);
  return said ? "" : said.error().sentence;
}

Result<std::vector<std::uint8_t>> read_spoken(std::string_view text, std::size_t size) {
  const std::size_t groups = spoken_groups(size);
  const Result<Said> said = hear(text, size);
  if (!said) return tl::unexpected(said.error());
  const std::vector<std::uint8_t>&digits = said->digits, &bytes = said->bytes;
  if (digits.size() != groups * kLength)
    return fail(fmt::format("it is too short: it has {} groups of five, and here are {} characters",
                            groups, digits.size()));
  const auto last = last_of(bytes);
  if (!std::equal(last.begin(), last.end(), digits.data() + (groups - 1) * kLength))
    return fail("a group is another one's, or more than one character of a group is mistyped");
  return bytes;
}

}  // namespace weir
