// dns_labels: where a registered domain starts, what bytes a label has, which names are addresses.
#include "core/detect/dns_labels.h"

#include <gtest/gtest.h>

namespace weir {
namespace {

std::string zone_of(std::string_view name) {
  const DnsLabels labels = take_labels(name);
  return labels.text(labels.zone_at, labels.size());
}

TEST(dns_labels, zone_is_the_registered_domain_by_the_icann_part) {
  EXPECT_EQ(zone_of("a.b.example.com"), "example.com");
  EXPECT_EQ(zone_of("a.b.shop.co.uk"), "shop.co.uk");
  EXPECT_EQ(zone_of("bucket.s3.amazonaws.com"), "amazonaws.com");
  EXPECT_EQ(zone_of("someone.github.io"), "github.io");
  EXPECT_EQ(zone_of("com"), "com");
  EXPECT_EQ(zone_of("www.ck"), "www.ck");
  EXPECT_EQ(zone_of("a.b.c.ck"), "b.c.ck");
}

TEST(dns_labels, a_name_without_a_known_suffix_says_so) {
  const DnsLabels labels = take_labels("x.y.pirates.zzzz");
  EXPECT_FALSE(labels.known_suffix);
  EXPECT_EQ(labels.text(labels.zone_at, labels.size()), "pirates.zzzz");
  EXPECT_TRUE(take_labels("x.example.com").known_suffix);
  EXPECT_EQ(take_labels("").size(), 0u);
}

TEST(dns_labels, escapes_become_the_bytes_they_stand_for_and_back) {
  const DnsLabels labels = take_labels("a\\046b\\200.c\\\\d.Example.COM");
  ASSERT_EQ(labels.size(), 4u);
  EXPECT_EQ(labels.labels[0], "a.b\xc8");
  EXPECT_EQ(labels.labels[1], "c\\d");
  EXPECT_EQ(labels.text(0, 1), "a\\046b\\200");
  EXPECT_EQ(labels.text(2, 4), "example.com");
  EXPECT_EQ(labels.case_bits, 14u);  // letters, where both cases occur
}

TEST(dns_labels, odd_names_do_no_harm) {
  for (std::string_view name : {".", "..", "a..b", "\\", "\\1", "a\\", "\\999.com", ".com"})
    (void)take_labels(name);
  std::string many;
  for (int i = 0; i < 400; ++i) many += "a.";
  EXPECT_LE(take_labels(many).size(), kMaxLabels);
}

TEST(dns_labels, addresses_written_backwards_are_told_by_their_grammar) {
  EXPECT_EQ(reversed_address(take_labels("4.3.2.1.bl.example.org")), 4u);
  EXPECT_EQ(reversed_address(take_labels("256.3.2.1.bl.example.org")), 0u);
  EXPECT_EQ(reversed_address(take_labels("04.3.2.1.bl.example.org")), 0u);
  EXPECT_EQ(reversed_address(take_labels("3.2.1.bl.example.org")), 0u);
  std::string nibbles;
  for (int i = 0; i < 32; ++i) nibbles += "f.";
  EXPECT_EQ(reversed_address(take_labels(nibbles + "ip6.arpa")), 32u);
}

}  // namespace
}  // namespace weir
