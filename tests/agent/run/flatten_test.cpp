// What a policy becomes in the kernel's table.
#include "agent/run/flatten.h"

#include <gtest/gtest.h>

#include "agent/guard/flat_policy.h"
#include "agent/run/resolvers.h"
#include "core/policy/limit_table.h"
#include "core/policy/surface/surface.h"

namespace weir {
namespace {

constexpr const char* kUploads = R"(apiVersion: weir/v1
name: t
mode: enforce
on_exit: keep
rules:
  - id: uploads
    when: {upload_to: [cloud_storage]}
    then: {limit: {bytes: 256KiB, window: 24h, per: person}}
)";

TEST(flatten, a_limit_becomes_a_row_that_unclassified_flows_are_charged_to) {
  Result<Policy> policy = parse_policy(kUploads, "t");
  ASSERT_TRUE(policy) << policy.error().sentence;
  std::vector<std::uint8_t> bytes = flatten(*policy, {});
  Result<FlatPolicy> flat = read_flat_policy(bytes);
  ASSERT_TRUE(flat) << flat.error().sentence;
  EXPECT_EQ(flat->header->table[0].per, static_cast<std::uint32_t>(WEIR_PER_PERSON));
  EXPECT_EQ(flat->header->table[0].bytes, 128u * 1024);  // the burst is half of a window's number
  EXPECT_EQ(flat->header->table[0].flags & WEIR_LIMIT_OBSERVE, 0u);
  EXPECT_EQ(flat->header->state.unclassified, 1u);
  EXPECT_EQ(flat->header->no_hold_rows, 1u);
  EXPECT_EQ(flat->header->keep, 1u);
}

TEST(flatten, a_hold_becomes_a_row_that_charges_nothing_and_says_how_it_ends) {
  Result<Policy> policy = parse_policy(R"(apiVersion: weir/v1
name: t
mode: enforce
rules:
  - id: ask-first
    when: {upload_to: [cloud_storage]}
    then: {hold: {for: 30s, ask: justification, otherwise: allow}}
  - id: uploads
    when: {upload_to: [cloud_storage]}
    then: {limit: {bytes: 256KiB, window: 24h, per: person}}
)",
                                       "t");
  ASSERT_TRUE(policy) << policy.error().sentence;
  std::vector<std::uint8_t> bytes = flatten(*policy, {});
  Result<FlatPolicy> flat = read_flat_policy(bytes);
  ASSERT_TRUE(flat) << flat.error().sentence;
  EXPECT_EQ(flat->hold_of(0), nullptr);
  const FlatHold* hold = flat->hold_of(1);
  ASSERT_NE(hold, nullptr);
  EXPECT_EQ(hold->for_ns, 30'000'000'000u);
  EXPECT_EQ(hold->allows, 1u);
  EXPECT_EQ(hold->asks, 1u);
  EXPECT_EQ(flat->header->table[1].per, static_cast<std::uint32_t>(WEIR_PER_TREE_DEST));
  EXPECT_EQ(flat->header->table[1].goes_on_ns, hold->for_ns);
  EXPECT_EQ(flat->header->no_hold_rows, 1u);
  EXPECT_EQ(flat->header->state.unclassified, 3u);

  auto* header = reinterpret_cast<FlatHeader*>(bytes.data());
  for (const std::uint64_t wrong :
       {std::uint64_t{0}, std::uint64_t{46'000'000'000}, ~std::uint64_t{0}}) {
    header->hold[1].for_ns = header->table[1].goes_on_ns = wrong;
    EXPECT_FALSE(read_flat_policy(bytes)) << wrong;
  }
  header->hold[1].for_ns = 45'000'000'000;
  EXPECT_FALSE(read_flat_policy(bytes)) << "the kernel lets it go on at another time";
  header->table[1].goes_on_ns = 45'000'000'000;
  EXPECT_TRUE(read_flat_policy(bytes));
  header->hold[1].allows = 0;
  EXPECT_FALSE(read_flat_policy(bytes)) << "what is to be closed goes on";
  header->hold[1].allows = 1;
  header->hold[0].for_ns = 1;
  EXPECT_FALSE(read_flat_policy(bytes)) << "a row that charges";
}

TEST(flatten, in_observe_every_row_only_counts) {
  std::string text = kUploads;
  text.replace(text.find("enforce"), 7, "observe");
  Result<Policy> policy = parse_policy(text, "t");
  ASSERT_TRUE(policy);
  std::vector<std::uint8_t> bytes = flatten(*policy, {});
  Result<FlatPolicy> flat = read_flat_policy(bytes);
  ASSERT_TRUE(flat) << flat.error().sentence;
  for (std::uint32_t row = 0; row < flat->header->limits; ++row)
    EXPECT_NE(flat->header->table[row].flags & WEIR_LIMIT_OBSERVE, 0u) << row;
  EXPECT_EQ(flat->header->no_hold_rows, 0u);
}

TEST(flatten, sockets_that_no_limit_counts_are_refused_in_enforce_where_the_policy_says_so) {
  const auto refuses = [](const std::string& mode, const std::string& defaults) {
    Result<Policy> policy = parse_policy("apiVersion: weir/v1\nname: t\nmode: " + mode + defaults +
                                             "\nrules:\n  - id: all\n    then: log\n",
                                         "t");
    EXPECT_TRUE(policy) << policy.error().sentence;
    std::vector<std::uint8_t> bytes = flatten(*policy, {});
    Result<FlatPolicy> flat = read_flat_policy(bytes);
    EXPECT_TRUE(flat);
    return flat->header->state.charged_only;
  };
  EXPECT_EQ(refuses("enforce", ""), 0u);
  EXPECT_EQ(refuses("enforce", "\ndefaults: {other_families: detect}"), 0u);
  EXPECT_EQ(refuses("enforce", "\ndefaults: {other_families: prevent}"), 1u);
  EXPECT_EQ(refuses("observe", "\ndefaults: {other_families: prevent}"), 0u);
}

TEST(flatten, an_isolated_host_may_send_to_its_resolvers_and_what_never_block_names) {
  const auto refuges = [](const std::string& never) {
    Result<Policy> policy =
        parse_policy("apiVersion: weir/v1\nname: t\nresolvers: [{address: 192.0.2.53}]\n" + never +
                         "rules:\n  - id: all\n    then: log\n",
                     "t");
    EXPECT_TRUE(policy) << policy.error().sentence;
    std::vector<std::uint8_t> bytes = flatten(*policy, resolvers_in("nameserver 192.0.2.54\n"));
    Result<FlatPolicy> flat = read_flat_policy(bytes);
    EXPECT_TRUE(flat);
    return refuges_of(*flat);
  };
  auto all = refuges("");
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].second | all[1].second, WEIR_REFUGE_DNS) << "questions alone";
  all = refuges("never_block: [198.51.100.0/24, 2001:db8::/32]\n");
  ASSERT_EQ(all.size(), 4u);
  EXPECT_EQ(all[0].first.text(), "198.51.100.0/24");
  EXPECT_EQ(all[0].second, WEIR_REFUGE_ALL);
  all = refuges("networks: {o: {interface: wg0, gateway: 198.51.100.7}}\n");
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[2].second, WEIR_REFUGE_GATEWAY) << "an isolated host has no way there by it";
  EXPECT_EQ(all[2].first.address.text(), "198.51.100.7");
  for (const char* wide : {"0.0.0.0/0", "16.0.0.0/11", "2001::/31", "::/0"})
    EXPECT_FALSE(parse_policy("apiVersion: weir/v1\nname: t\nnever_block: " + std::string(wide) +
                                  "\nrules:\n  - id: all\n    then: log\n",
                              "t"))
        << wide << " is half of the Internet";
}

TEST(flatten, a_resolver_is_never_charged_to_a_limit_on_uploads) {
  Result<Policy> policy = parse_policy(kUploads, "t");
  ASSERT_TRUE(policy);
  std::vector<IpAddress> resolvers = resolvers_in(
      "# a comment\nsearch example.com\nnameserver 192.0.2.53\nnameserver 127.0.0.53\n"
      "nameserver fe80::1%eth0\nnameserver nonsense\n");
  ASSERT_EQ(resolvers.size(), 2u);
  std::vector<std::uint8_t> bytes = flatten(*policy, resolvers);
  Result<FlatPolicy> flat = read_flat_policy(bytes);
  ASSERT_TRUE(flat) << flat.error().sentence;
  ASSERT_EQ(flat->prefixes.size(), 2u);
  EXPECT_EQ(flat->prefixes[0].value.limits, 0u);
  EXPECT_EQ(flat->prefixes[0].key.length, 128u);
  EXPECT_EQ(flat->prefixes[0].value.final, 0u);  // other ports of it are still judged
}

TEST(flatten, says_whether_a_resolver_of_the_policy_can_prove_a_name) {
  const auto proves = [](const std::string& resolvers) {
    auto policy = parse_policy(
        "apiVersion: weir/v1\nname: n\nmode: enforce\n"
        "networks: {office: {interface: tun0}}\n" +
            resolvers +
            "rules:\n  - id: u\n    when: {upload_to: [cloud_storage]}\n"
            "    then: {limit: {bytes: 1MiB, per: person}}\n",
        "p");
    EXPECT_TRUE(policy) << policy.error().sentence;
    std::vector<std::uint8_t> bytes = flatten(*policy, resolvers_in("nameserver 10.0.0.53\n"));
    return read_flat_policy(bytes)->header->proves_names;
  };
  EXPECT_EQ(proves(""), 0u);
  EXPECT_EQ(proves("resolvers: [{address: 10.0.0.53}]\n"), 0u) << "over no network of its own";
  EXPECT_EQ(proves("resolvers: [{address: 10.0.0.53, via: office}]\n"), 1u);
}

TEST(flatten, a_row_has_the_same_name_in_a_policy_where_it_moved_and_its_number_changed) {
  Result<Policy> one = parse_policy(kUploads, "t");
  std::string text = kUploads;
  text.replace(text.find("256KiB"), 6, "512KiB");
  text.insert(text.find("  - id: uploads"),
              "  - id: first\n    when: {trust: unknown}\n"
              "    then: {limit: [{bytes: 1MiB, window: 24h, per: person}, "
              "{bytes: 2MiB, window: 24h, per: person}]}\n");
  Result<Policy> other = parse_policy(text, "t");
  ASSERT_TRUE(one && other);
  std::vector<std::uint8_t> one_bytes = flatten(*one, {}), other_bytes = flatten(*other, {});
  const weir_limit* before = read_flat_policy(one_bytes)->header->table;
  const weir_limit* after = read_flat_policy(other_bytes)->header->table;
  EXPECT_NE(before[0].name, 0u);
  EXPECT_EQ(before[0].name, after[2].name);
  EXPECT_NE(after[0].name, after[1].name) << "two rows of one kind in one rule";
  EXPECT_NE(after[0].name, after[2].name);
  EXPECT_EQ(before[1].name, after[3].name) << "acknowledgements";
}

TEST(flatten, answers_have_a_row_of_the_machine_after_the_acknowledgements_unless_there_are_none) {
  Result<Policy> policy = parse_policy(kUploads, "t");
  ASSERT_TRUE(policy);
  std::vector<std::uint8_t> bytes = flatten(*policy, {});
  Result<FlatPolicy> flat = read_flat_policy(bytes);
  ASSERT_TRUE(flat) << flat.error().sentence;
  const std::uint32_t row = answers_row(*policy);
  EXPECT_EQ(flat->header->state.answers, 1ull << row);
  EXPECT_EQ(flat->header->state.unclassified >> row & 1, 0u);
  EXPECT_EQ(flat->header->table[row].per, static_cast<std::uint32_t>(WEIR_PER_HOST));
  EXPECT_EQ(flat->header->table[row].bytes, 16u << 20) << "half of 32 MiB at once";
  EXPECT_EQ(flat->header->table[row].flags & WEIR_LIMIT_OBSERVE, 0u);
  policy->defaults.answers = 0;
  bytes = flatten(*policy, {});
  EXPECT_EQ(read_flat_policy(bytes)->header->state.answers, 0u);
}

TEST(flatten, a_network_names_its_interface_and_a_resolver_is_there_once) {
  std::string text = kUploads;
  text.insert(text.find("rules:"),
              "networks: {office: {interface: tun0}, other: {interface: tun0}}\n"
              "resolvers: [{address: 10.0.0.53, via: office}, {address: 8.8.8.8}]\n");
  Result<Policy> policy = parse_policy(text, "t");
  ASSERT_TRUE(policy) << policy.error().sentence;
  std::vector<std::uint8_t> bytes = flatten(*policy, resolvers_in("nameserver 10.0.0.53\n"));
  Result<FlatPolicy> flat = read_flat_policy(bytes);
  ASSERT_TRUE(flat) << flat.error().sentence;
  ASSERT_EQ(flat->header->interfaces, 1u);
  EXPECT_STREQ(flat->header->interface[0].data(), "tun0");
  ASSERT_EQ(flat->prefixes.size(), 2u);
}

}  // namespace
}  // namespace weir
