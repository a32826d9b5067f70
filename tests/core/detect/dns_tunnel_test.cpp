// dns_tunnel: what is named, how early, and which honest habits are not.
#include "core/detect/dns_tunnel.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/core/detect/dns_desk.h"

namespace weir {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;

bool has_reason(const Signal& s, const std::string& code) {
  for (const Reason& reason : s.finding.because)
    if (reason.code == code) return true;
  return false;
}

void tunnel(DnsDesk& desk, const std::string& zone, int queries, std::int64_t pause = kSecond) {
  Encoder bytes(1);
  for (int i = 0; i < queries; ++i) {
    desk.lookup(bytes.base32(60) + "." + bytes.base32(60) + "." + zone, kTxt, 0, 220);
    desk.wait(pause);
  }
}

TEST(dns_tunnel, names_the_registered_zone_of_long_encoded_names) {
  DnsDesk desk;
  tunnel(desk, "t.corp.co.uk", 20);
  ASSERT_THAT(desk.zones(), ElementsAre("corp.co.uk"));
  const Signal& first = desk.signals.front();
  EXPECT_EQ(first.finding.detector, "dns_tunnel");
  EXPECT_EQ(first.destination.channel, "dns");
  EXPECT_EQ(first.destination.endpoint.text(), "192.0.2.53:53");
  EXPECT_EQ(first.actor.address.text(), "192.0.2.7");
  EXPECT_THAT(first.finding.attack, Contains("T1071.004"));
  ASSERT_EQ(first.finding.because.front().code, "dns_zone_bytes");
  EXPECT_TRUE(has_reason(first, "dns_unique_names"));
  EXPECT_TRUE(has_reason(first, "dns_encoded_names"));
  EXPECT_TRUE(has_reason(first, "dns_unusual_types"));
}

TEST(dns_tunnel, is_named_within_its_first_two_kilobytes_of_questions) {
  DnsDesk desk;
  tunnel(desk, "t.example.com", 20);
  ASSERT_FALSE(desk.signals.empty());
  EXPECT_LE(desk.signals.front().bytes_out, 2048u);
}

TEST(dns_tunnel, what_it_says_was_told_is_no_less_than_what_was_sent) {
  DnsDesk desk;
  Encoder bytes(3);
  constexpr int kNames = 400;  // of 20 base32 letters: 100 bits each
  for (int i = 0; i < kNames; ++i) desk.lookup(bytes.base32(20) + ".example.com");
  ASSERT_FALSE(desk.signals.empty());
  const Signal& last = desk.signals.back();
  const std::uint64_t told = std::stoull(last.finding.because.front().args[1]);
  // The last signal came at a doubling: at most half of all is missing from its figure.
  EXPECT_GE(told * 2, kNames * 100 / 8);
  EXPECT_LE(told, kNames * 100 / 8 * 5 / 4);
}

TEST(dns_tunnel, renaming_the_zone_changes_nothing) {
  std::vector<std::vector<std::uint64_t>> figures;
  for (const char* zone : {"t.example.com", "t.wedding.org", "x.q7zk3.net", "t.unknown-end.zzz"}) {
    DnsDesk desk;
    tunnel(desk, zone, 60);
    std::vector<std::uint64_t> told;
    for (const Signal& s : desk.signals)
      told.push_back(std::stoull(s.finding.because.front().args[1]));
    figures.push_back(told);
  }
  for (const auto& told : figures) EXPECT_EQ(told, figures.front());
}

TEST(dns_tunnel, the_handshake_of_binary_names_is_enough) {
  DnsDesk desk;
  Encoder bytes(5);
  for (int i = 0; i < 14; ++i) {
    std::string label = "z";
    for (int k = 0; k < 40; ++k) label += fmt::format("\\{:03}", 188 + bytes.below(60));
    desk.lookup(label + ".t.example.com", kNull, 0, 90);
  }
  EXPECT_THAT(desk.zones(), ElementsAre("example.com"));
}

TEST(dns_tunnel, an_idle_tunnel_is_named_by_its_keepalives) {
  DnsDesk desk;
  Encoder bytes(7);
  for (int i = 0; i < 150; ++i) {  // ten minutes
    desk.lookup("p" + bytes.base32(9) + ".t.example.com", kNull, 0, 60);
    desk.wait(4 * kSecond);
  }
  EXPECT_THAT(desk.zones(), ElementsAre("example.com"));
}

TEST(dns_tunnel, twenty_bytes_a_second_are_not_slow_enough) {
  DnsDesk desk;
  tunnel(desk, "t.example.com", 30, 60 * kSecond);  // 75 bytes a minute
  EXPECT_THAT(desk.zones(), ElementsAre("example.com"));
}

TEST(dns_tunnel, a_thousand_bytes_a_day_are_named_on_the_first_day) {
  DnsDesk desk;
  Encoder bytes(9);
  for (int i = 0; i < 144; ++i) {
    desk.lookup(bytes.hex(16) + ".s.example.net");
    desk.wait(600 * kSecond);
  }
  EXPECT_THAT(desk.zones(), ElementsAre("example.net"));
}

TEST(dns_tunnel, a_fixed_first_label_is_the_key_where_no_suffix_is_known) {
  DnsDesk desk;
  Encoder bytes(11);
  for (int i = 0; i < 30; ++i)
    desk.lookup("agent." + bytes.hex(60) + "." + bytes.hex(60), kTxt, 0, 200);
  ASSERT_THAT(desk.zones(), ElementsAre("agent"));
  EXPECT_TRUE(has_reason(desk.signals.front(), "dns_fixed_first_label"));
}

TEST(dns_tunnel, names_without_anything_fixed_are_counted_together) {
  DnsDesk desk;
  Encoder bytes(13);
  for (int i = 0; i < 200; ++i) desk.lookup(bytes.hex(60) + "." + bytes.hex(60), kTxt, 0, 200);
  ASSERT_FALSE(desk.signals.empty());
  EXPECT_EQ(desk.signals.front().destination.zone, "");
  EXPECT_TRUE(has_reason(desk.signals.front(), "dns_no_suffix"));
}

TEST(dns_tunnel, the_response_bit_does_not_hide_a_question) {
  DnsDesk desk;
  Encoder bytes(15);
  for (int i = 0; i < 30; ++i) desk.ask(bytes.base32(60) + ".t.example.com", kTxt, true);
  EXPECT_THAT(desk.zones(), ElementsAre("example.com"));
}

TEST(dns_tunnel, each_tree_is_counted_and_named_by_itself) {
  DnsDesk desk;
  Encoder bytes(17);
  for (int i = 0; i < 40; ++i) {
    desk.tree(i % 2 == 0 ? 7 : 9);
    if (i % 2 == 0)
      desk.lookup(bytes.base32(60) + ".t.example.com", kTxt, 0, 200);
    else
      desk.lookup("www.example.com");
  }
  ASSERT_FALSE(desk.signals.empty());
  for (const Signal& s : desk.signals) EXPECT_EQ(s.actor.tree, 7u);
}

TEST(dns_tunnel, a_signal_comes_again_at_doublings_and_with_the_final_bytes) {
  DnsDesk desk;
  tunnel(desk, "t.example.com", 200);
  const std::size_t revisions = desk.signals.size();
  EXPECT_GE(revisions, 3u);
  EXPECT_LE(revisions, 10u);
  desk.finish();
  ASSERT_EQ(desk.signals.size(), revisions + 1);
  const std::uint32_t question = 60 + 1 + 60 + 1 + 13 + 18;
  EXPECT_EQ(desk.signals.back().bytes_out, 200u * question);
  EXPECT_EQ(desk.signals.back().bytes_in, 200u * 220);
}

TEST(dns_tunnel, spelling_by_an_alphabet_of_known_names_is_found) {
  DnsDesk desk;
  Encoder bytes(19);
  for (int i = 0; i < 20000; ++i) {  // a byte a question
    desk.lookup("w" + std::to_string(bytes.below(256)) + ".example.com");
    desk.wait(2 * kSecond);
  }
  ASSERT_THAT(desk.zones(), ElementsAre("example.com"));
  EXPECT_TRUE(has_reason(desk.signals.front(), "dns_repeat_bytes"));
}

// Honest habits.

TEST(dns_tunnel, reverse_dns_of_a_thousand_addresses_is_not_a_tunnel) {
  DnsDesk desk;
  Encoder bytes(21);
  for (int i = 0; i < 1000; ++i)
    desk.lookup(fmt::format("{}.{}.{}.93.in-addr.arpa", bytes.below(256), bytes.below(256),
                            bytes.below(256)),
                kPtr, i % 2 ? 3 : 0);
  EXPECT_THAT(desk.signals, IsEmpty());
}

TEST(dns_tunnel, block_list_lookups_of_a_mail_server_are_not_a_tunnel) {
  DnsDesk desk;
  Encoder bytes(23);
  for (int i = 0; i < 2000; ++i)
    desk.lookup(fmt::format("{}.{}.{}.{}.bl.blocklist.org", bytes.below(256), bytes.below(256),
                            bytes.below(256), bytes.below(256)),
                kA, 3);
  EXPECT_THAT(desk.signals, IsEmpty());
}

TEST(dns_tunnel, long_text_answers_about_mail_keys_are_not_a_tunnel) {
  DnsDesk desk;
  Encoder bytes(25);
  for (int i = 0; i < 200; ++i)
    desk.lookup(bytes.hex(32) + "._domainkey.shop" + std::to_string(i) + ".com", kTxt, 0, 480);
  EXPECT_THAT(desk.signals, IsEmpty());
}

TEST(dns_tunnel, random_case_in_questions_is_no_new_name) {
  DnsDesk desk;
  Encoder bytes(27);
  for (int i = 0; i < 3000; ++i) {
    std::string name = "conversations.support.example.com";
    for (char& c : name)
      if (c != '.' && bytes.below(2)) c = static_cast<char>(c - 'a' + 'A');
    desk.lookup(name);
    desk.wait(kSecond);
  }
  EXPECT_THAT(desk.signals, IsEmpty());
}

TEST(dns_tunnel, polling_the_same_names_all_day_is_not_a_tunnel) {
  DnsDesk desk;
  const char* hosts[] = {"api", "www", "static", "chat", "events", "img", "login", "files"};
  for (int i = 0; i < 20000; ++i) {
    desk.lookup(std::string(hosts[i % 8]) + ".example.com");
    desk.lookup(std::string(hosts[i % 8]) + ".example.com", kAaaa);
    desk.ask(std::string(hosts[i % 8]) + ".example.com");  // and once more: a lost answer
    desk.wait(4 * kSecond);
  }
  EXPECT_THAT(desk.signals, IsEmpty());
}

TEST(dns_tunnel, a_crawl_of_many_zones_is_not_a_tunnel) {
  DnsDesk desk;
  Encoder bytes(29);
  for (int i = 0; i < 20000; ++i)
    desk.lookup("www." + bytes.take(8, "abcdefghijklmnopqrstuvwxyz") + ".com");
  EXPECT_THAT(desk.signals, IsEmpty());
}

TEST(dns_tunnel, names_that_are_connected_to_are_not_a_tunnel) {
  DnsDesk desk;
  Encoder bytes(31);
  for (int i = 0; i < 250; ++i) {
    const std::string name =
        "d" + bytes.take(13, "abcdefghijklmnopqrstuvwxyz0123456789") + ".cdn-company.net";
    desk.lookup(name);
    desk.connect(name);
    desk.wait(60 * kSecond);
  }
  EXPECT_THAT(desk.signals, IsEmpty());
}

TEST(dns_tunnel, an_antivirus_asking_its_cloud_for_hashes_is_not_a_tunnel) {
  DnsDesk desk;
  Encoder bytes(37);
  for (int i = 0; i < 900; ++i) {
    desk.lookup("5." + bytes.base32(48) + ".i.03.s.sophosxl.net", kTxt);
    desk.lookup("0.9-" + bytes.hex(8) + "." + bytes.hex(6) + "." + bytes.base32(26) +
                ".avqs.mcafee.com");
    desk.wait(96 * kSecond);
  }
  EXPECT_THAT(desk.signals, IsEmpty());
}

TEST(dns_tunnel, a_known_zone_is_no_cover_for_another_grammar) {
  DnsDesk desk;
  tunnel(desk, "t.mcafee.com", 30);
  Encoder bytes(39);
  for (int i = 0; i < 300; ++i) desk.lookup(bytes.base32(20) + ".cloudfront.net");
  EXPECT_THAT(desk.zones(), ElementsAre("mcafee.com", "cloudfront.net"));
}

TEST(dns_tunnel, a_known_grammar_is_believed_up_to_its_bytes) {
  DnsDesk desk;
  Encoder bytes(45);
  for (int i = 0; i < 3000; ++i)  // 180 kB in a day, 64 KiB of it are believed
    desk.lookup("5." + bytes.base32(48) + ".i.03.s.sophosxl.net", kTxt);
  EXPECT_THAT(desk.zones(), ElementsAre("sophosxl.net"));
}

TEST(dns_tunnel, content_networks_names_are_not_a_tunnel) {
  DnsDesk desk;
  Encoder bytes(47);
  const char* alnum = "abcdefghijklmnopqrstuvwxyz0123456789";
  for (int i = 0; i < 400; ++i) {
    desk.lookup("d" + bytes.take(13, alnum) + ".cloudfront.net");
    desk.lookup(fmt::format("r{}---sn-{}.googlevideo.com", bytes.below(20), bytes.take(8, alnum)));
    desk.wait(120 * kSecond);
  }
  EXPECT_THAT(desk.signals, IsEmpty());
}

TEST(dns_tunnel, one_long_name_is_no_habit) {
  DnsDesk desk;
  Encoder bytes(33);
  desk.lookup(bytes.base32(60) + "." + bytes.base32(60) + "." + bytes.base32(60) + ".example.com");
  EXPECT_THAT(desk.signals, IsEmpty());
}

}  // namespace
}  // namespace weir
