// Groups that are read over the telephone: whatever one person gets wrong in one group is told by
// its number.
#include "core/base/spoken.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>

namespace weir {
namespace {

std::vector<std::uint8_t> bytes_from(std::uint32_t seed, std::size_t size) {
  std::vector<std::uint8_t> bytes(size);
  for (std::uint8_t& byte : bytes)
    byte = static_cast<std::uint8_t>((seed = seed * 1664525 + 1013904223) >> 24);
  return bytes;
}

std::string plain(const std::string& text) {
  std::string out;
  for (const char c : text)
    if (std::isalnum(static_cast<unsigned char>(c)) != 0) out += c;
  return out;
}

constexpr std::string_view kAlphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

TEST(spoken, what_was_said_is_what_was_meant) {
  for (std::size_t size : {1u, 2u, 3u, 5u, 20u, 64u})
    for (std::uint32_t seed = 0; seed < 50; ++seed) {
      const auto bytes = bytes_from(seed, size);
      const std::string text = spoken(bytes);
      EXPECT_EQ(plain(text).size(), spoken_groups(size) * 5);
      const auto again = read_spoken(text, size);
      ASSERT_TRUE(again) << again.error().sentence;
      EXPECT_EQ(*again, bytes);
    }
}

TEST(spoken, in_any_case_with_anything_between_and_with_look_alikes) {
  const auto bytes = bytes_from(7, 20);
  std::string text = spoken(bytes);
  std::ranges::replace(text, '0', 'o');
  std::ranges::replace(text, '1', 'l');
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  std::ranges::replace(text, ' ', '-');
  const auto again = read_spoken("\t" + text + ".\r\n", 20);
  ASSERT_TRUE(again) << again.error().sentence;
  EXPECT_EQ(*again, bytes);
}

TEST(spoken, one_wrong_character_names_its_group_whichever_it_is) {
  const std::string text = plain(spoken(bytes_from(3, 20)));
  for (std::size_t at = 0; at < text.size(); ++at)
    for (const char other : kAlphabet) {
      if (other == text[at]) continue;
      std::string wrong = text;
      wrong[at] = other;
      const auto read = read_spoken(wrong, 20);
      ASSERT_FALSE(read);
      EXPECT_EQ(read.error().sentence, "group " + std::to_string(at / 5 + 1) + " is mistyped");
    }
}

TEST(spoken, two_characters_that_changed_places_and_two_groups_that_did) {
  const std::string text = plain(spoken(bytes_from(4, 64)));
  for (std::size_t at = 0; at + 1 < text.size(); ++at) {
    if (text[at] == text[at + 1]) continue;
    std::string wrong = text;
    std::swap(wrong[at], wrong[at + 1]);
    EXPECT_FALSE(read_spoken(wrong, 64)) << at;
  }
  for (std::size_t a = 0; a < text.size(); a += 5)
    for (std::size_t b = a + 5; b < text.size(); b += 5) {
      std::string wrong = text;
      std::swap_ranges(wrong.begin() + static_cast<std::ptrdiff_t>(a),
                       wrong.begin() + static_cast<std::ptrdiff_t>(a) + 5,
                       wrong.begin() + static_cast<std::ptrdiff_t>(b));
      const auto read = read_spoken(wrong, 64);
      ASSERT_FALSE(read);
      EXPECT_EQ(read.error().sentence, "group " + std::to_string(a / 5 + 1) + " is mistyped");
    }
}

TEST(spoken, what_is_cut_too_long_or_of_another_alphabet_is_said_so) {
  const std::string text = spoken(bytes_from(5, 20));
  EXPECT_EQ(read_spoken("", 20).error().sentence,
            "it is too short: it has 9 groups of five, and here are 0 characters");
  EXPECT_NE(read_spoken(text.substr(0, text.size() - 1), 20).error().sentence.find("too short"),
            std::string::npos);
  EXPECT_NE(read_spoken(text + "0", 20).error().sentence.find("too long"), std::string::npos);
  EXPECT_NE(read_spoken(std::string(5000, ' '), 20).error().sentence.find("too long"),
            std::string::npos);
  EXPECT_EQ(read_spoken("ABCU", 20).error().sentence, "group 1: U is no character of it");
}

// The rest of the last group of data is no place for bits that mean nothing.
TEST(spoken, bytes_are_said_in_one_way_alone) {
  std::size_t read = 0;
  const std::string text = plain(spoken(bytes_from(6, 1)));
  for (const char a : kAlphabet)
    for (const char b : kAlphabet)
      for (const char check : kAlphabet) {
        std::string other = text;
        other[2] = a;
        other[3] = b;
        other[4] = check;
        read += read_spoken(other, 1) ? 1 : 0;
      }
  EXPECT_EQ(read, 1u);
}

}  // namespace
}  // namespace weir
