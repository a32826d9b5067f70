// Domains of a policy that are known: a sorted text, its search, and the files that it comes from.
#include "core/policy/known_names.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <random>
#include <set>

#include "tests/core/policy/sample.h"

namespace weir {
namespace {

TEST(known_names, are_sorted_once_and_what_nobody_registers_is_left_out) {
  const std::string text =
      known_text({"B.example.", "a.example", "b.example", "co.uk", "github.io", "com", "localhost",
                  "www.a.example", "x.github.io", "y.co.uk"});
  EXPECT_EQ(text, "a.example\nb.example\nx.github.io\ny.co.uk\n");
  EXPECT_EQ(known_count(text), 4u);
  EXPECT_TRUE(is_known_text(text));
  EXPECT_TRUE(is_known_text(""));
}

TEST(known_names, a_host_is_known_by_what_its_owner_registered) {
  const std::string text = known_text({"a.example", "b.example", "me.github.io", "y.co.uk"});
  for (const char* host : {"a.example", "www.a.example", "x.y.b.example", "me.github.io",
                           "www.me.github.io", "shop.y.co.uk", "WWW.A.Example."})
    EXPECT_TRUE(is_known_host(text, host)) << host;
  for (const char* host : {"", "example", "aa.example", "a.example.com", "a.exampl", "github.io",
                           "you.github.io", "co.uk", "z.co.uk", "192.0.2.1"})
    EXPECT_FALSE(is_known_host(text, host)) << host;
}

TEST(known_names, a_providers_name_says_nothing_about_its_customers) {
  // A popularity list has them all: each customer is somebody else.
  const std::string text = known_text({"github.io", "herokuapp.com", "blogspot.com", "github.com"});
  EXPECT_EQ(text, "github.com\n");
  EXPECT_FALSE(is_known_host(text, "evil.herokuapp.com"));
}

TEST(known_names, the_search_finds_exactly_what_is_there) {
  std::mt19937 random(4711);
  for (std::size_t size : {0u, 1u, 2u, 3u, 17u, 1000u}) {
    std::set<std::string> names;
    while (names.size() < size) {
      const unsigned number = random() % 5000;
      names.insert(std::string(1 + number % 9, 'a') + fmt::format("{}.example", number));
    }
    const std::string text = known_text({names.begin(), names.end()});
    ASSERT_TRUE(is_known_text(text));
    for (const std::string& name : names) EXPECT_TRUE(is_known_host(text, name)) << name;
    for (unsigned number = 0; number < 5000; ++number) {
      const std::string name = std::string(1 + number % 9, 'a') + fmt::format("{}.example", number);
      EXPECT_EQ(is_known_host(text, name), names.contains(name)) << name;
    }
  }
}

TEST(known_names, a_list_has_a_domain_a_line_and_comments) {
  const auto names = read_known_list(
      "# of tranco-list.eu, K2V9\n\nExample.COM\r\n\tb.example. # 7\n#c", "popular.txt");
  ASSERT_TRUE(names) << names.error().sentence;
  EXPECT_EQ(*names, (std::vector<std::string>{"example.com", "b.example"}));
  const auto wrong = read_known_list("a.example\n1,google.com\n", "popular.txt");
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().sentence,
            "popular.txt:2: '1,google.com' is no domain; a line has one such as example.com (other "
            "letters in their xn-- form)");
}

std::string desk(const std::string& known, const std::string& more = "") {
  return "apiVersion: weir/v1\nname: p\nmode: enforce\n" + more + "destinations: {known: [" +
         known + "]}\nrules: [{id: r, when: {trust: known}, then: log}]\n";
}
constexpr char kProves[] =
    "networks: {office: {interface: tun0}}\nresolvers: [{address: 10.0.0.53, via: office}]\n";

TEST(known_names, a_policy_takes_them_from_its_lists_and_its_own_words) {
  const std::string yaml =
      desk("{list: popular.txt}, {domain: mine.example}, {list: used.txt}, {list: popular.txt}",
           kProves);
  EXPECT_EQ(lists_of(yaml), (std::vector<std::string>{"popular.txt", "used.txt"}));
  const auto policy = parse_policy(
      yaml, "p.yaml", {{"popular.txt", "b.example\nco.uk\n"}, {"used.txt", "a.example # 3\n"}});
  ASSERT_TRUE(policy) << policy.error().sentence;
  EXPECT_EQ(policy->known, "a.example\nb.example\nmine.example\n");
}

TEST(known_names, what_is_wrong_is_told_where_it_stands) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {desk("{domain: docs.example.com}", kProves),
       "p.yaml:6:33: destinations.known[0].domain: 'docs.example.com' can't be registered by "
       "somebody: name a whole registered domain such as example.com"},
      {desk("{domain: github.io}", kProves),
       "p.yaml:6:33: destinations.known[0].domain: 'github.io' can't be registered by somebody: "
       "name a whole registered domain such as example.com"},
      {desk("{list: gone.txt}", kProves),
       "p.yaml:6:31: destinations.known[0].list: gone.txt: there is no such file"},
      {desk("{list: other.txt}", kProves),
       "p.yaml:6:31: destinations.known[0].list: the file 'other.txt' was not given"},
      {desk("{list: bad.txt}", kProves),
       "p.yaml:6:31: destinations.known[0].list: bad.txt:1: 'no name' is no domain; a line has one "
       "such as example.com (other letters in their xn-- form)"},
      {desk("{list: ../bad.txt}", kProves),
       "p.yaml:6:31: destinations.known[0].list: '../bad.txt' is not allowed here; allowed: a file "
       "name without a folder"},
      {desk("{list: bad.txt, domain: a.example}", kProves),
       "p.yaml:6:24: destinations.known[0]: needs exactly one of domain or list"},
      {desk("{domain: a.example}"),
       "p.yaml:4:23: destinations.known: what stands here is known by its name, but no resolver of "
       "this policy can prove a name; add one, with the network that it is reached over: "
       "resolvers: [{address: …, via: …}]"}};
  const ListTexts lists{{"gone.txt", fail("gone.txt: there is no such file")},
                        {"bad.txt", "no name\n"}};
  for (const auto& [yaml, sentence] : cases) {
    const auto policy = parse_policy(yaml, "p.yaml", lists);
    ASSERT_FALSE(policy) << yaml;
    EXPECT_EQ(policy.error().sentence, sentence);
  }
}

TEST(known_names, more_than_a_policy_holds_are_refused) {
  std::string list;
  for (int n = 0; list.size() <= kMaxKnownBytes; ++n) list += fmt::format("name{}.example\n", n);
  const std::string yaml = desk("{list: long.txt}", kProves);
  const auto policy = parse_policy(yaml, "p.yaml", {{"long.txt", list}});
  ASSERT_FALSE(policy);
  EXPECT_NE(policy.error().sentence.find("at most 786432 bytes (some 50,000) are allowed"),
            std::string::npos)
      << policy.error().sentence;
  std::string names;
  for (std::size_t n = 0; n <= kMaxLists; ++n) names += fmt::format("{{list: l{}.txt}}, ", n);
  EXPECT_EQ(lists_of(desk(names, kProves)).size(), kMaxLists);
  EXPECT_FALSE(parse_policy(desk(names, kProves), "p.yaml"));
}

TEST(known_names, a_policy_with_faults_names_no_lists) {
  EXPECT_TRUE(lists_of("apiVersion: weir/v1\n").empty());
  EXPECT_TRUE(lists_of("{").empty());
  EXPECT_TRUE(lists_of(desk("{domain: a.example}", kProves)).empty());
}

}  // namespace
}  // namespace weir
