// Names of hosts.
#include "core/net/zone.h"

#include <gtest/gtest.h>

#include "core/net/domain.h"

namespace weir {
namespace {

TEST(zone, the_registered_domain_stands_one_label_before_the_public_suffix) {
  EXPECT_EQ(registered_domain("a.b.example.com"), "example.com");
  EXPECT_EQ(registered_domain("WWW.Example.CO.UK."), "example.co.uk");
  EXPECT_EQ(registered_domain("example.com"), "example.com");
  EXPECT_EQ(registered_domain("x.y.com.cn"), "y.com.cn");
  EXPECT_EQ(registered_domain("a.b.c.ck"), "b.c.ck");  // *.ck
  EXPECT_EQ(registered_domain("a.www.ck"), "www.ck");  // its exception
}

TEST(zone, private_suffixes_are_no_boundary) {
  EXPECT_EQ(registered_domain("me.github.io"), "github.io");
  EXPECT_EQ(registered_domain("bucket.s3.amazonaws.com"), "amazonaws.com");
}

TEST(zone, a_suffix_itself_and_the_root_are_what_they_are) {
  EXPECT_EQ(registered_domain("com"), "com");
  EXPECT_EQ(registered_domain("co.uk"), "co.uk");
  EXPECT_EQ(registered_domain(""), "");
  EXPECT_EQ(registered_domain("."), "");
}

TEST(zone, unknown_suffixes_give_the_last_two_labels) {
  EXPECT_EQ(registered_domain("a.b.corp.internal-zone"), "corp.internal-zone");
  EXPECT_EQ(registered_domain("localhost"), "localhost");
  EXPECT_EQ(registered_domain("dnscat.0a1b2c"), "dnscat.0a1b2c");
}

TEST(zone, addresses_have_no_registered_domain) {
  EXPECT_EQ(registered_domain("192.0.2.1"), "");
  EXPECT_EQ(registered_domain("2001:db8::1"), "");
}

TEST(zone, odd_names_end) {
  for (const char* name : {"...", ".com", "a..com", "..com.", "-", "a.-.com", "\\000.com"})
    EXPECT_TRUE(within_domain(normal_host(name), registered_domain(name))) << name;
  EXPECT_FALSE(registered_domain(std::string(5000, '.')).empty());
  EXPECT_FALSE(registered_domain(std::string(5000, 'x')).empty());
}

}  // namespace
}  // namespace weir
