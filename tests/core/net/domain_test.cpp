// Names of hosts as text.
#include "core/net/domain.h"

#include <gtest/gtest.h>

namespace weir {
namespace {

TEST(domain, a_name_has_one_form) {
  EXPECT_EQ(normal_host("WWW.Example.COM."), "www.example.com");
  EXPECT_EQ(normal_host("a.."), "a.") << "one dot alone is the root's";
  EXPECT_EQ(normal_host("\xc3\x84.example"), "\xc3\x84.example")
      << "only ASCII letters have a case";
  EXPECT_EQ(normal_host("."), "");
  EXPECT_EQ(normal_host(""), "");
}

TEST(domain, within_means_at_a_label_boundary) {
  EXPECT_TRUE(within_domain("example.com", "example.com"));
  EXPECT_TRUE(within_domain("a.example.com", "example.com"));
  EXPECT_FALSE(within_domain("evilexample.com", "example.com"));
  EXPECT_FALSE(within_domain("com", "example.com"));
  EXPECT_FALSE(within_domain("example.com.evil", "example.com"));
  EXPECT_FALSE(within_domain("a", ""));
}

// XXH3_64bits of the text: accounts that are on a disk are found by it.
TEST(domain, a_key_is_the_same_in_every_version) {
  EXPECT_EQ(destination_key("evil.example"), 0xb42c65e30a1d3ed5u);
  EXPECT_EQ(destination_key("192.0.2.0/24"), 0xca2fc25ee95212f1u);
  EXPECT_NE(destination_key("evil.example"), destination_key("evil.example."));
}

}  // namespace
}  // namespace weir
