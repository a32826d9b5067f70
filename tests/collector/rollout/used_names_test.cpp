// Names that many persons use: who is a person, what is a place, and what one lying host can't do.
#include "collector/rollout/used_names.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "weir/v1/admin.pb.h"

namespace weir {
namespace {

struct Use {
  std::uint32_t host = 1, uid = 1001;
  std::string destination = "press.example";
  bool proven = true;
  v1::Trust::Value trust = v1::Trust::unknown;
};

v1::UsageRow row_of(const Use& use) {
  v1::UsageRow row;
  row.mutable_person()->mutable_user()->set_uid(use.uid);
  row.set_destination(use.destination);
  row.set_name_proven(use.proven);
  row.set_trust(use.trust);
  return row;
}

// "domain persons" of each, with commas.
std::string names(const std::vector<Use>& uses, std::uint32_t persons = 3, bool by_host = false) {
  UsedNames used(by_host);
  for (const Use& use : uses) used.on(row_of(use), use.host);
  v1::ListUsedNamesResponse out;
  used.result(persons, out);
  EXPECT_EQ(out.rows(), uses.size());
  EXPECT_FALSE(out.cut());
  std::string text;
  for (const v1::UsedName& name : out.names())
    text += (text.empty() ? "" : ", ") + fmt::format("{} {}", name.domain(), name.persons());
  return text;
}

TEST(UsedNames, are_those_of_three_persons_on_three_hosts) {
  EXPECT_EQ(names({{1, 1001}, {2, 1002}, {3, 1003}}), "press.example 3");
  EXPECT_EQ(names({{1, 1001}, {2, 1002}, {2, 1001}}), "");
  EXPECT_EQ(names({{1, 1001}, {2, 1002}}, 2), "press.example 2");
  EXPECT_EQ(names({{1, 1001, "b.example"},
                   {2, 1002, "b.example"},
                   {1, 1001, "a.example"},
                   {2, 1002, "a.example"}},
                  2),
            "a.example 2, b.example 2");
}

TEST(UsedNames, one_host_can_make_persons_and_no_more) {
  EXPECT_EQ(names({{1, 1001}, {1, 1002}, {1, 1003}, {1, 1004}}), "");
  EXPECT_EQ(names({{1, 1001}, {1, 1002}, {1, 1003}, {2, 1004}}), "");
}

TEST(UsedNames, one_person_on_many_hosts_is_one_unless_hosts_are_counted) {
  EXPECT_EQ(names({{1, 1000}, {2, 1000}, {3, 1000}}), "");
  EXPECT_EQ(names({{1, 1000}, {2, 1000}, {3, 1000}}, 3, true), "press.example 3");
  EXPECT_EQ(names({{1, 1001}, {1, 1002}, {1, 1003}}, 3, true), "");
}

TEST(UsedNames, count_only_with_proof_and_for_persons) {
  EXPECT_EQ(names({{1, 1001}, {2, 1002}, {3, 1003, "press.example", false}}), "");
  for (std::uint32_t uid : {0u, 33u, 999u, 65534u, 4294967295u})
    EXPECT_EQ(names({{1, 1001}, {2, 1002}, {3, uid}}), "") << uid;
}

TEST(UsedNames, are_of_ordinary_places_that_somebody_registered) {
  const auto all = [](const std::string& destination, v1::Trust::Value trust) {
    return names({{1, 1001, destination, true, trust},
                  {2, 1002, destination, true, trust},
                  {3, 1003, destination, true, trust}});
  };
  EXPECT_EQ(all("a.example", v1::Trust::known), "a.example 3");
  for (auto trust : {v1::Trust::approved, v1::Trust::upload, v1::Trust::infrastructure,
                     v1::Trust::undeclared_udp})
    EXPECT_EQ(all("a.example", trust), "") << trust;
  for (const char* destination : {"203.0.113.0/24", "github.io", "co.uk", "", "a b.example",
                                  "www.a.example", "a.example\n", "*.example"})
    EXPECT_EQ(all(destination, v1::Trust::unknown), "") << destination;
}

TEST(UsedNames, more_than_are_told_are_cut_and_the_most_used_stay) {
  UsedNames used(false);
  for (std::size_t n = 0; n <= kMaxToldNames; ++n)
    for (std::uint32_t host = 1; host <= (n == 7 ? 3u : 2u); ++host)
      used.on(row_of({host, 1000 + host, fmt::format("n{}.example", n)}), host);
  v1::ListUsedNamesResponse out;
  used.result(2, out);
  EXPECT_TRUE(out.cut());
  EXPECT_EQ(out.names_size(), static_cast<int>(kMaxToldNames));
  bool there = false;
  for (const v1::UsedName& name : out.names()) there = there || name.domain() == "n7.example";
  EXPECT_TRUE(there);
}

}  // namespace
}  // namespace weir
