// DNS messages and the names that they give to addresses.
#include "core/net/dns.h"

#include <gtest/gtest.h>

#include "core/net/names.h"
#include "tests/core/net/packets.h"

namespace weir {
namespace {

using namespace packets;

DnsMessage parsed(const Buffer& message) {
  auto result = parse_dns(bytes_of(message));
  EXPECT_TRUE(result) << name_of(result ? Damage::count_ : result.error());
  return result ? *result : DnsMessage{};
}

TEST(dns, a_question_keeps_its_case_and_type) {
  const DnsMessage message = parsed(dns_query("wWw.Example.COM", 16));
  ASSERT_EQ(message.questions.size(), 1u);
  EXPECT_EQ(message.questions[0].name, "wWw.Example.COM");
  EXPECT_EQ(message.questions[0].type, 16);
  EXPECT_FALSE(message.response);
  EXPECT_EQ(message.size, dns_query("wWw.Example.COM").size());
}

TEST(dns, what_is_not_visible_in_a_label_is_escaped) {
  const Buffer name = u8(7) + Buffer("a.\\\xff\0 b", 7) + u8(0);
  const Buffer message = u16(1) + u16(0) + u16(1) + u16(0) + u32(0) + name + u16(1) + u16(1);
  EXPECT_EQ(parsed(message).questions[0].name, "a\\046\\092\\255\\000\\032b");
}

TEST(dns, answers_give_addresses_targets_and_lengths) {
  const Buffer owner = u16(0xc00c);
  const DnsMessage message = parsed(dns_answer(
      "www.example.com", 6,
      dns_record(owner, 5, 30, Buffer("\5alias", 6) + owner) +
          dns_record(Buffer("\5alias", 6) + owner, 1, 60, v4("203.0.113.9")) +
          dns_record(owner, 28, 60, v6("2001:db8::9")) +
          dns_record(owner, 15, 1, u16(10) + Buffer("\4mail", 5) + owner) +
          dns_record(owner, 33, 1, u16(1) + u16(2) + u16(443) + Buffer("\3srv", 4) + owner) +
          dns_record(owner, 16, 1, "\4text")));
  ASSERT_EQ(message.answers.size(), 6u);
  EXPECT_EQ(message.answers[0].target, "alias.www.example.com");
  EXPECT_EQ(message.answers[1].name, "alias.www.example.com");
  EXPECT_EQ(message.answers[1].address.text(), "203.0.113.9");
  EXPECT_EQ(message.answers[2].address.text(), "2001:db8::9");
  EXPECT_EQ(message.answers[3].target, "mail.www.example.com");
  EXPECT_EQ(message.answers[4].target, "srv.www.example.com");
  EXPECT_EQ(message.answers[5].length, 5);
  EXPECT_EQ(message.answers[1].ttl_s, 60u);
}

TEST(dns, pointers_that_loop_or_lead_forward_are_a_bad_name) {
  const Buffer head = u16(1) + u16(0) + u16(1) + u16(0) + u32(0);
  for (const Buffer& name : {u16(0xc00c), u16(0xc00e) + u16(0xc00c), u8(1) + "a" + u16(0xc00c),
                             u16(0xc0ff), u8(0x80) + "a", u8(0x41) + "a"})
    EXPECT_EQ(parse_dns(bytes_of(head + name + u32(0))).error(), Damage::bad_name);
}

TEST(dns, a_name_longer_than_255_octets_is_a_bad_name) {
  std::string label(63, 'x'), name = label + "." + label + "." + label;
  EXPECT_EQ(parsed(dns_query(name + "." + std::string(61, 'y'))).questions.size(), 1u);
  EXPECT_EQ(parse_dns(bytes_of(dns_query(name + "." + std::string(62, 'y')))).error(),
            Damage::bad_name);
}

TEST(dns, cut_anywhere_gives_damage_or_what_stood_before_it) {
  const Buffer whole =
      dns_answer("www.example.com", 1, dns_record(u16(0xc00c), 1, 60, v4("203.0.113.9")));
  const std::size_t question = dns_query("www.example.com").size();
  for (std::size_t n = 0; n < whole.size(); ++n) {
    const auto message = parse_dns(bytes_of(whole.substr(0, n)));
    ASSERT_EQ(message.has_value(), n >= question) << n;
    if (message) {
      EXPECT_EQ(message->questions.size(), 1u);
      EXPECT_EQ(message->damage, Damage::truncated);
    }
  }
}

TEST(dns, a_question_survives_garbage_behind_it) {
  const Buffer message = dns_answer("data.example.com", 1, "\xff\xff\xff");
  const auto result = parsed(message);
  EXPECT_EQ(result.questions[0].name, "data.example.com");
  EXPECT_EQ(result.damage, Damage::bad_name);
}

TEST(dns, counts_of_records_are_bounded) {
  Buffer questions, answers;
  for (int i = 0; i < 100; ++i) questions += dns_name("a.b") + u16(1) + u16(1);
  for (int i = 0; i < 100; ++i) answers += dns_record(u16(0xc00c), 1, 1, v4("192.0.2.1"));
  const Buffer many = u16(1) + u16(0) + u16(0xffff) + u16(0) + u32(0) + questions;
  EXPECT_EQ(parsed(many).questions.size(), kMaxDnsQuestions);
  EXPECT_EQ(parsed(dns_answer("a.b", 0xffff, answers)).answers.size(), kMaxDnsAnswers);
}

TEST(dns, empty_data_in_an_update_is_no_damage) {
  EXPECT_FALSE(parsed(dns_answer("a.b", 1, dns_record(u16(0xc00c), 1, 0, ""), 0x2800)).damage);
}

// ---- names ------------------------------------------------------------------------------------

constexpr std::int64_t kSecond = 1'000'000'000;
const IpAddress kClient = *IpAddress::parse("192.0.2.1"), kOther = *IpAddress::parse("192.0.2.2");
const IpAddress kServer = *IpAddress::parse("203.0.113.9");
using Names = std::vector<std::string>;

TEST(names, an_address_has_the_names_that_were_asked_newest_first) {
  AddressNames names;
  names.learn(kClient, parsed(dns_a("one.example", "203.0.113.9")), 0);
  names.learn(kClient, parsed(dns_a("TWO.example", "203.0.113.9")), 1);
  EXPECT_EQ(names.find(kClient, kServer, 2), (Names{"two.example", "one.example"}));
  names.learn(kClient, parsed(dns_a("one.example", "203.0.113.9")), 3);
  EXPECT_EQ(names.newest(kClient, kServer, 4), "one.example");
  EXPECT_EQ(names.find(kClient, kServer, 4).size(), 2u);
}

TEST(names, belong_to_the_client_that_asked) {
  AddressNames names;
  names.learn(kClient, parsed(dns_a("one.example", "203.0.113.9")), 0);
  EXPECT_TRUE(names.find(kOther, kServer, 1).empty());
  EXPECT_EQ(names.find(IpAddress{}, kServer, 1), Names{"one.example"});
  names.learn(IpAddress{}, parsed(dns_a("host.example", "203.0.113.9")), 2);
  EXPECT_EQ(names.find(kOther, kServer, 3), Names{"host.example"});
}

TEST(names, end_with_the_ttl_and_five_minutes) {
  AddressNames names;
  names.learn(kClient, parsed(dns_a("one.example", "203.0.113.9", 60)), 0);
  EXPECT_EQ(names.newest(kClient, kServer, 360 * kSecond), "one.example");
  EXPECT_EQ(names.newest(kClient, kServer, 361 * kSecond), "");
  names.learn(kClient, parsed(dns_a("long.example", "203.0.113.9", 0xffffffff)), 0);
  EXPECT_EQ(names.newest(kClient, kServer, (86400 + 301) * kSecond), "");
}

TEST(names, follow_the_cname_chain_and_nothing_beside_it) {
  AddressNames names;
  const Buffer alias = dns_name("edge.cdn.example"), beside = dns_name("bank.example");
  names.learn(kClient,
              parsed(dns_answer("files.example", 3,
                                dns_record(u16(0xc00c), 5, 60, alias) +
                                    dns_record(alias, 1, 60, v4("203.0.113.9")) +
                                    dns_record(beside, 1, 60, v4("203.0.113.10")))),
              0);
  EXPECT_EQ(names.find(kClient, kServer, 1), Names{"files.example"});
  EXPECT_TRUE(names.find(kClient, *IpAddress::parse("203.0.113.10"), 1).empty());
}

TEST(names, are_bounded_for_an_address_and_in_all) {
  AddressNames names;
  for (int i = 0; i < 100; ++i)
    names.learn(kClient, parsed(dns_a("h" + std::to_string(i) + ".example", "203.0.113.9")), i);
  EXPECT_EQ(names.find(kClient, kServer, 100).size(), AddressNames::kMaxNames);
  EXPECT_EQ(names.dropped(), 100 - AddressNames::kMaxNames);
  DnsMessage message = parsed(dns_a("many.example", "203.0.113.9"));
  for (std::uint32_t i = 0; i < AddressNames::kMaxAddresses + 10; ++i) {
    message.answers[0].address = IpAddress::v4(0x0a000000 + i);
    names.learn(kClient, message, 200);
  }
  EXPECT_TRUE(names.find(kClient, IpAddress::v4(0x0a000000), 201).empty());
  EXPECT_FALSE(
      names.find(kClient, IpAddress::v4(0x0a000000 + AddressNames::kMaxAddresses), 201).empty());
}

}  // namespace
}  // namespace weir
