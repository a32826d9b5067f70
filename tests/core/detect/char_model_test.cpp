// char_model: prices are those of a lossless code, words are cheap and encoded bytes are not.
#include "core/detect/char_model.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "tests/core/detect/dns_desk.h"

namespace weir {
namespace {

double bits_a_letter(std::string_view label) {
  return static_cast<double>(CharModel::built_in().letters(label)) / kOneBit /
         static_cast<double>(label.size() + 1);
}

TEST(char_model, all_short_labels_together_fit_a_code) {
  // Kraft over whole labels: a lossless code can't make them all cheaper than this.
  const CharModel& model = CharModel::built_in();
  const std::string symbols = "abcdefghijklmnopqrstuvwxyz0123456789-_";
  double sum = 0;
  for (char a : symbols) {
    sum += std::exp2(-static_cast<double>(model.cheapest(std::string{a})) / kOneBit);
    for (char b : symbols) {
      sum += std::exp2(-static_cast<double>(model.cheapest(std::string{a, b})) / kOneBit);
      for (char c : symbols)
        sum += std::exp2(-static_cast<double>(model.cheapest(std::string{a, b, c})) / kOneBit);
    }
  }
  EXPECT_LE(sum, 1.0);
}

TEST(char_model, names_that_people_give_cost_less_than_encoded_bytes) {
  for (const char* word : {"www", "mail", "login", "download", "settings-win", "eu-west-1",
                           "telemetry", "customer-service", "shanghai", "weather"})
    EXPECT_LT(bits_a_letter(word), 6.0) << word;
  Encoder bytes(41);
  for (int i = 0; i < 50; ++i) {
    EXPECT_GT(bits_a_letter(bytes.hex(32)), 7.0);
    EXPECT_GT(bits_a_letter(bytes.base32(32)), 7.0);
  }
}

TEST(char_model, encoded_bytes_cost_what_they_carry_and_little_more) {
  Encoder bytes(43);
  const CharModel& model = CharModel::built_in();
  const double hex = static_cast<double>(model.cheapest(bytes.hex(60))) / kOneBit;
  EXPECT_GE(hex, 60 * 4);
  EXPECT_LE(hex, 60 * 4 + 10);
  const double base32 = static_cast<double>(model.cheapest(bytes.base32(60))) / kOneBit;
  EXPECT_GE(base32, 60 * 5);
  EXPECT_LE(base32, 60 * 5 + 10);
  const double raw = static_cast<double>(model.cheapest(std::string(60, '\xee'))) / kOneBit;
  EXPECT_LE(raw, 60 * 8 + 10);
}

}  // namespace
}  // namespace weir
