// Addresses: text both ways, prefixes, and what is not an address.
#include "core/event/address.h"

#include <gtest/gtest.h>

namespace weir {
namespace {

TEST(address, text_comes_back_as_it_was_written) {
  for (const char* text : {"192.0.2.1", "0.0.0.0", "255.255.255.255", "::", "::1", "2001:db8::1",
                           "2001:db8:0:1:1:1:1:1", "fe80::1:0:0:1", "1:2:3:4:5:6:7:8"}) {
    auto address = IpAddress::parse(text);
    ASSERT_TRUE(address) << text;
    EXPECT_EQ(address->text(), text);
  }
}

TEST(address, what_is_no_address_is_refused_with_the_text_in_the_sentence) {
  for (const char* text : {"", "1.2.3", "1.2.3.4.5", "256.1.1.1", "1..2.3", ":::", "1::2::3",
                           "g::", "1:2:3:4:5:6:7:8:9", "1:", "12345::", "::1.2.3", "1.2.3.4 "}) {
    auto address = IpAddress::parse(text);
    EXPECT_FALSE(address) << text;
    if (!address) {
      EXPECT_NE(address.error().sentence.find(text), std::string::npos);
    }
  }
}

TEST(address, v4_mapped_text_is_the_same_address_as_its_v4_text) {
  EXPECT_EQ(*IpAddress::parse("::ffff:192.0.2.1"), *IpAddress::parse("192.0.2.1"));
}

TEST(prefix, contains_by_bits_in_both_families) {
  EXPECT_TRUE(Prefix::parse("10.0.0.0/8")->contains(*IpAddress::parse("10.255.0.1")));
  EXPECT_FALSE(Prefix::parse("10.0.0.0/8")->contains(*IpAddress::parse("11.0.0.1")));
  EXPECT_TRUE(Prefix::parse("192.0.2.128/25")->contains(*IpAddress::parse("192.0.2.200")));
  EXPECT_FALSE(Prefix::parse("192.0.2.128/25")->contains(*IpAddress::parse("192.0.2.100")));
  EXPECT_TRUE(Prefix::parse("2001:db8::/33")->contains(*IpAddress::parse("2001:db8:7fff::1")));
  EXPECT_FALSE(Prefix::parse("2001:db8::/33")->contains(*IpAddress::parse("2001:db8:8000::1")));
  EXPECT_TRUE(Prefix::parse("0.0.0.0/0")->contains(*IpAddress::parse("8.8.8.8")));
  EXPECT_FALSE(Prefix::parse("0.0.0.0/0")->contains(*IpAddress::parse("2001:db8::1")));
}

TEST(prefix, length_beyond_the_family_is_refused) {
  EXPECT_FALSE(Prefix::parse("10.0.0.0/33"));
  EXPECT_FALSE(Prefix::parse("2001:db8::/129"));
  EXPECT_FALSE(Prefix::parse("10.0.0.0/"));
  EXPECT_EQ(Prefix::parse("10.0.0.0/8")->text(), "10.0.0.0/8");
}

}  // namespace
}  // namespace weir
