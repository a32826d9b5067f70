// known_names: what fits a grammar, what does not, and lines that are refused.
#include "core/detect/known_names.h"

#include <gtest/gtest.h>

#include "core/detect/dns_labels.h"

namespace weir {
namespace {

constexpr std::uint16_t kA = 1, kTxt = 16;

std::uint32_t believed(const KnownNames& names, std::string_view name, std::uint16_t type = kA) {
  const DnsLabels labels = take_labels(name);
  return names.believed(labels.text(labels.zone_at, labels.size()), labels.part(0, labels.zone_at),
                        type);
}

const KnownNames& sample() {
  static const KnownNames names = *KnownNames::parse(
      "# a comment\n"
      "cdn.net    A,AAAA 100 d<alnum:11-14>\n"
      "video.com  A      200 r<dec:1-3>---sn-<host:4-24>\n"
      "list.org   A      300 <hostname>.dbl\n"
      "cloud.com  TXT    400 <labels:2-3>.s\n");
  return names;
}

TEST(known_names, a_name_that_fits_has_the_bytes_of_its_line) {
  EXPECT_EQ(believed(sample(), "d8wwrax5qs75bo.cdn.net"), 100u);
  EXPECT_EQ(believed(sample(), "r15---sn-pvr0da53.video.com"), 200u);
  EXPECT_EQ(believed(sample(), "shop.some-place.co.uk.dbl.list.org"), 300u);
  EXPECT_EQ(believed(sample(), "4.abcdef.s.cloud.com", kTxt), 400u);
}

TEST(known_names, a_broken_grammar_or_another_type_is_believed_nothing) {
  for (const char* name :
       {"x8wwrax5qs75bo.cdn.net", "d8wwrax5q.cdn.net", "d8wwrax5qs75bo01.cdn.net",
        "a.d8wwrax5qs75bo.cdn.net", "cdn.net", "d8wwr-x5qs75bo.cdn.net",
        "r15--sn-pvr0da53.video.com", "r1555---sn-pvr0da53.video.com", "r---sn-pvr0da53.video.com",
        "nodomain.dbl.list.org", "name.zzzz.dbl.list.org", "d8wwrax5qs75bo.cdn2.net",
        "dbl.list.org"})
    EXPECT_EQ(believed(sample(), name), 0u) << name;
  EXPECT_EQ(believed(sample(), "d8wwrax5qs75bo.cdn.net", kTxt), 0u);
  EXPECT_EQ(believed(sample(), "a.s.cloud.com", kTxt), 0u);
  EXPECT_EQ(believed(sample(), "a.b.c.d.s.cloud.com", kTxt), 0u);
  EXPECT_EQ(believed(sample(), "a_b.c.s.cloud.com", kTxt), 0u);
}

TEST(known_names, a_line_that_can_not_be_read_is_named) {
  for (const char* line :
       {"cdn.net A 100", "cdn.net B 100 d<alnum:1-2>", "cdn.net A 0 d", "cdn.net A x d",
        "cdn.net A 5 d<what:1-2>", "cdn.net A 5 d<dec:3-2>", "cdn.net A 5 d<dec:3",
        "cdn.net A 5 a..b", "cdn.net A 5 <labels:2>.s", "cdn.net A 5 D"}) {
    const auto names = KnownNames::parse(std::string("# first\n") + line + "\n");
    ASSERT_FALSE(names) << line;
    EXPECT_NE(names.error().sentence.find("line 2"), std::string::npos) << line;
  }
}

TEST(known_names, the_built_in_ones_can_be_read) {
  EXPECT_GT(believed(KnownNames::built_in(), "d8wwrax5qs75bo.cloudfront.net"), 0u);
}

}  // namespace
}  // namespace weir
