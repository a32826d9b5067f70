// The file that says whom a host takes policies from: what is read, and what is refused.
#include "agent/guard/trust.h"

#include <gtest/gtest.h>

namespace weir {
namespace {

TrustedKey key(std::uint8_t first) {
  TrustedKey key;
  key.key[0] = first;
  key.id = policy_key_id(key.key);
  key.expires_wall_s = 2'000'000'000;
  return key;
}

PolicyTrust two_of_three() {
  return {"support", 2, {key(1), key(2), key(3)}};
}

TEST(trust, what_is_written_is_read_again) {
  auto text = write_trust(two_of_three());
  ASSERT_TRUE(text);
  auto trust = read_trust(*text);
  ASSERT_TRUE(trust) << trust.error().sentence;
  EXPECT_EQ(trust->group, "support");
  EXPECT_EQ(trust->threshold, 2u);
  ASSERT_EQ(trust->keys.size(), 3u);
  EXPECT_EQ(trust->keys[2].key, key(3).key);
  EXPECT_EQ(trust->keys[2].id, key(3).id);
  EXPECT_EQ(trust->keys[0].expires_wall_s, 2'000'000'000);
}

TEST(trust, host_and_number_are_read_and_an_older_file_has_neither) {
  PolicyTrust trust = two_of_three();
  trust.host = "8f14e45f-ceea-467f-a3c1-4a0d2c2f6b11";
  trust.number = 7;
  std::string text = *write_trust(trust);
  auto again = read_trust(text);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->host, trust.host);
  EXPECT_EQ(again->number, 7u);
  for (const char* twice : {"host another\n", "number 8\n", "number 0\n", "host \n"})
    EXPECT_FALSE(read_trust(text + twice)) << twice;
  text.erase(text.find("host "), text.find("group ") - text.find("host "));
  text.erase(text.find("number "), text.find("threshold ") - text.find("number "));
  again = read_trust(text);
  ASSERT_TRUE(again) << text;
  EXPECT_EQ(again->host, "");
  EXPECT_EQ(again->number, 1u);
  trust.host = "two words";
  EXPECT_FALSE(write_trust(trust));
}

TEST(trust, a_file_that_is_cut_anywhere_within_a_line_is_refused) {
  std::string text = *write_trust(two_of_three());
  for (std::size_t length = 0; length < text.size(); ++length)
    if (length == 0 || text[length - 1] != '\n') {
      EXPECT_FALSE(read_trust(std::string_view(text).substr(0, length))) << length;
    }
}

TEST(trust, a_threshold_that_no_keys_can_reach_is_refused) {
  PolicyTrust trust = two_of_three();
  trust.threshold = 4;
  EXPECT_FALSE(write_trust(trust));
  trust.threshold = 0;
  EXPECT_FALSE(write_trust(trust));
}

TEST(trust, the_same_key_twice_is_refused) {
  PolicyTrust trust = two_of_three();
  trust.keys[1] = trust.keys[0];
  EXPECT_FALSE(write_trust(trust));
}

TEST(trust, a_key_under_anothers_name_is_refused) {
  PolicyTrust trust = two_of_three();
  trust.keys[1].id = trust.keys[0].id;
  EXPECT_FALSE(write_trust(trust));
}

TEST(trust, more_than_eight_keys_or_a_group_of_two_words_are_refused) {
  PolicyTrust many = two_of_three();
  for (std::uint8_t n = 4; n <= 9; ++n) many.keys.push_back(key(n));
  EXPECT_FALSE(write_trust(many));
  PolicyTrust words = two_of_three();
  words.group = "support desk";
  EXPECT_FALSE(write_trust(words));
}

TEST(trust, another_version_or_an_unknown_line_is_refused) {
  std::string text = *write_trust(two_of_three());
  EXPECT_FALSE(read_trust("weir trust 2" + text.substr(12)));
  EXPECT_FALSE(read_trust(text + "anyone yes\n"));
  EXPECT_FALSE(read_trust(text + "group other\n"));
  EXPECT_FALSE(read_trust(text + "\n"));
}

}  // namespace
}  // namespace weir
