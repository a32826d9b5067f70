// Commands and sets of keys as bytes: whole, or refused whole.
#include "proto/map/command_proto.h"

#include <gtest/gtest.h>

#include "weir/v1/agent.pb.h"
#include "weir/v1/policy.pb.h"

namespace weir {
namespace {

using Body = v1::CommandBody;
using Kind = CommandFault::Kind;

Body good() {
  Body body;
  body.set_verb(Body::send_health);
  body.set_host_id("host-1");
  body.set_not_before_wall_s(100);
  body.set_expires_wall_s(200);
  body.set_id("000102030405060708090a0b0c0d0e0f");
  return body;
}
tl::expected<CommandTerms, CommandFault> read(const Body& body, const std::string& tail = "") {
  const std::string bytes = body.SerializeAsString() + tail;
  return command_from_bytes(bytes_of(bytes));
}

TEST(command_proto, a_command_is_read_as_it_was_made) {
  Body body = good();
  body.mutable_reason()->add_args("admin");
  body.mutable_reason()->add_args("line\nbreak");
  auto terms = read(body);
  ASSERT_TRUE(terms) << terms.error().words;
  EXPECT_EQ(terms->verb, static_cast<std::uint32_t>(Body::send_health));
  EXPECT_EQ(terms->host_id, "host-1");
  EXPECT_EQ(terms->id[15], 0x0f);
  EXPECT_EQ(text_of_command_id(terms->id), body.id());
  EXPECT_EQ(terms->asked, "admin: line\\x0abreak");
}

TEST(command_proto, an_unknown_verb_field_or_value_refuses_the_whole) {
  Body body = good();
  body.set_verb(static_cast<Body::Verb>(50));
  EXPECT_EQ(read(body).error().kind, Kind::unknown_part);
  EXPECT_EQ(read(good(), "\xa0\x06\x01").error().kind, Kind::unknown_part) << "field 100";
  body = good();
  body.set_verb(Body::block_destination);
  body.mutable_destination()->set_trust(static_cast<v1::Trust::Value>(77));
  EXPECT_EQ(read(body).error().words, "trust 77");
  body.mutable_destination()->set_trust(v1::Trust::unknown);
  body.mutable_destination()
      ->mutable_removable()
      ->GetReflection()
      ->MutableUnknownFields(body.mutable_destination()->mutable_removable())
      ->AddVarint(90, 1);
  EXPECT_EQ(read(body).error().words, "a field of Removable") << "at any depth";
}

TEST(command_proto, a_field_of_another_verb_is_refused) {
  Body body = good();
  body.set_lease_s(60);
  EXPECT_EQ(read(body).error().words, "send_health has no lease_s");
  body.set_verb(Body::isolate);
  EXPECT_TRUE(read(body));
  body.mutable_exception()->set_id("x");
  EXPECT_EQ(read(body).error().words, "isolate has no exception");
}

Body block(const char* name, const char* address) {
  Body body = good();
  body.set_verb(Body::block_destination);
  body.set_lease_s(60);
  body.mutable_destination()->set_name(name);
  body.mutable_destination()->set_address(address);
  return body;
}

TEST(command_proto, a_block_names_one_place_for_somebody_and_a_time) {
  const auto named = read(block("Files.Evil.Example.", ""));
  ASSERT_TRUE(named);
  EXPECT_EQ(named->block->domain, "files.evil.example");
  EXPECT_EQ(named->block->person, kNoPerson);
  Body body = block("", "192.0.2.7/24");
  body.mutable_person()->mutable_user()->set_uid(1000);
  const auto range = read(body);
  ASSERT_TRUE(range);
  EXPECT_EQ(range->block->prefix, *Prefix::parse("192.0.2.0/24"));
  EXPECT_EQ(range->block->person, 1000u);
  EXPECT_EQ(read(block("", "::ffff:192.0.2.7"))->block->prefix, *Prefix::parse("192.0.2.7"));
}

TEST(command_proto, a_block_of_no_place_of_everything_or_without_end_is_refused) {
  const auto words = [](const Body& body) {
    const auto terms = read(body);
    return terms ? std::string("taken") : terms.error().words;
  };
  EXPECT_EQ(words(block("", "")), "its destination has neither name nor address");
  EXPECT_EQ(words(block("", "192.0.2.7/33")), "its destination has neither name nor address");
  EXPECT_EQ(words(block("evil.example", "192.0.2.7")), "its destination is a name and an address");
  EXPECT_EQ(words(block("co.uk", "")), "its destination is a public suffix");
  EXPECT_EQ(words(block("192.0.2.7", "")), "its destination has no name of a host");
  EXPECT_EQ(words(block("evil..example", "")), "its destination has no name of a host");
  const std::string wide = "its destination is wider than a /8, or a /16 of IPv6: isolate the host";
  EXPECT_EQ(words(block("", "0.0.0.0/0")), wide);
  EXPECT_EQ(words(block("", "12.0.0.0/7")), wide);
  EXPECT_EQ(words(block("", "::/0")), wide);
  EXPECT_EQ(words(block("", "::/16")), "its destination holds all of IPv4");
  EXPECT_EQ(words(block("", "::fffe:0:0/95")), "its destination holds all of IPv4");
  Body body = block("evil.example", "");
  body.clear_lease_s();
  EXPECT_EQ(words(body), "it has no end");
  body = block("evil.example", "");
  body.mutable_person();
  EXPECT_EQ(words(body), "it names no person of this host");
  body.mutable_person()->mutable_user()->set_uid(kNoPerson);
  EXPECT_EQ(words(body), "it names no person of this host");
  body.clear_person();
  body.mutable_destination()->mutable_removable();
  EXPECT_EQ(words(body), "its destination is no host's");
  body = block("evil.example", "");
  body.set_tree(7);
  EXPECT_EQ(words(body), "block_destination has no tree");
}

Body except() {
  Body body = good();
  body.set_verb(Body::except);
  body.set_lease_s(60);
  v1::Exception& exception = *body.mutable_exception();
  exception.set_request_id("0123abcd");
  exception.add_sets_aside("uploads");
  exception.mutable_person()->mutable_user()->set_uid(1000);
  exception.mutable_destination()->set_name("Files.Example.");
  exception.mutable_destination()->set_address("192.0.2.1");
  exception.set_bytes(4096);
  exception.mutable_until()->set_seconds(300);
  return body;
}

TEST(command_proto, an_exception_is_read_as_it_was_made_and_its_name_counts_before_its_address) {
  auto terms = read(except());
  ASSERT_TRUE(terms) << terms.error().words;
  ASSERT_TRUE(terms->exception);
  EXPECT_EQ(terms->exception->what.domain, "files.example");
  EXPECT_EQ(terms->exception->what.person, 1000u);
  EXPECT_EQ(terms->exception->what.bytes, 4096u);
  EXPECT_EQ(terms->exception->what.sets_aside, std::vector<std::string>{"uploads"});
  EXPECT_EQ(terms->exception->until_wall_s, 300);
  EXPECT_EQ(terms->exception->request_id, "0123abcd");
  EXPECT_FALSE(terms->exception->name_proven);
  Body body = except();
  body.mutable_exception()->mutable_destination()->set_name_proven(true);
  EXPECT_TRUE(read(body)->exception->name_proven);
  body.mutable_exception()->mutable_destination()->clear_name();
  terms = read(body);
  ASSERT_TRUE(terms);
  EXPECT_EQ(terms->exception->what.domain, "");
  EXPECT_EQ(terms->exception->what.prefix.text(), "192.0.2.1/32");
}

TEST(command_proto, an_exception_without_a_bound_of_its_own_is_refused) {
  const auto words = [](auto change) {
    Body body = except();
    change(*body.mutable_exception());
    const auto terms = read(body);
    return terms ? std::string("taken") : terms.error().words;
  };
  using E = v1::Exception;
  EXPECT_EQ(words([](E& e) { e.clear_bytes(); }), "it grants no bytes");
  EXPECT_EQ(words([](E& e) { e.set_customers(3); }), "an exception in customers is not known here");
  EXPECT_EQ(words([](E& e) { e.clear_person(); }), "it names no person of this host");
  EXPECT_EQ(words([](E& e) { e.mutable_person()->mutable_user()->set_sid("S-1"); }),
            "it names no person of this host");
  EXPECT_EQ(words([](E& e) { e.clear_sets_aside(); }), "it sets not 1 to 8 rules aside");
  EXPECT_EQ(words([](E& e) {
              for (int n = 0; n < 8; ++n) e.add_sets_aside("more");
            }),
            "it sets not 1 to 8 rules aside");
  EXPECT_EQ(words([](E& e) { e.add_sets_aside(std::string(65, 'a')); }), "a rule has no id");
  EXPECT_EQ(words([](E& e) { e.mutable_destination()->set_name("com"); }),
            "its destination is a public suffix");
  EXPECT_EQ(words([](E& e) { e.mutable_destination()->set_name("a b.example"); }),
            "its destination has no name of a host");
  EXPECT_EQ(words([](E& e) { e.mutable_destination()->set_name("*.example"); }),
            "its destination has no name of a host");
  EXPECT_EQ(words([](E& e) { e.clear_destination(); }),
            "its destination has neither name nor address");
  EXPECT_EQ(words([](E& e) {
              e.mutable_destination()->clear_name();
              e.mutable_destination()->set_address("192.0.0.0/16");
            }),
            "its destination is wider than a /24 or /48");
  EXPECT_EQ(words([](E& e) { e.mutable_destination()->mutable_printer(); }),
            "its destination is no host's");
  EXPECT_EQ(words([](E& e) { e.set_request_id("../x"); }),
            "its request has no id that this host gives");
  Body endless = except();
  endless.clear_lease_s();
  EXPECT_TRUE(read(endless));
  endless.mutable_exception()->clear_until();
  EXPECT_EQ(read(endless).error().words, "it has no end");
  Body undo = good();
  undo.set_verb(Body::undo);
  EXPECT_FALSE(read(undo));
  undo.set_lease_id(undo.id());
  EXPECT_EQ(read(undo)->lease, read(undo)->id);
  Body deny = good();
  deny.set_verb(Body::deny_request);
  EXPECT_EQ(read(deny).error().words, "it is of no request");
}

TEST(command_proto, what_every_command_has_is_missed) {
  for (const char* id :
       {"", "0001", "000102030405060708090A0B0C0D0E0F", "000102030405060708090a0b0c0d0e0f00",
        "x00102030405060708090a0b0c0d0e0f"}) {
    Body body = good();
    body.set_id(id);
    EXPECT_EQ(read(body).error().kind, Kind::damaged) << id;
  }
  Body body = good();
  body.clear_host_id();
  EXPECT_FALSE(read(body));
  body = good();
  body.set_expires_wall_s(100);
  EXPECT_FALSE(read(body));
  body = good();
  body.clear_verb();
  EXPECT_FALSE(read(body));
  EXPECT_FALSE(command_from_bytes({}));
  EXPECT_FALSE(read(good(), std::string(kMaxCommandBytes, '\0')));
}

TEST(command_proto, a_join_has_a_group_and_the_time_of_its_decision) {
  Body body = good();
  body.set_verb(Body::join_group);
  body.mutable_join()->set_group("labs");
  body.mutable_join()->set_least_number(3);
  body.mutable_join()->set_decided_wall_ms(150'999);
  auto terms = read(body);
  ASSERT_TRUE(terms) << terms.error().words;
  ASSERT_TRUE(terms->join);
  EXPECT_EQ(terms->join->group, "labs");
  EXPECT_EQ(terms->join->least_number, 3u);
  EXPECT_EQ(terms->join->decided_wall_ms, 150'999);
  for (const std::string& group : {std::string(), std::string("Labs"), std::string("two words"),
                                   std::string("line\n"), std::string(64, 'g')}) {
    body.mutable_join()->set_group(group);
    EXPECT_EQ(read(body).error().kind, Kind::damaged) << group;
  }
  body.mutable_join()->set_group(std::string(63, 'g'));
  EXPECT_TRUE(read(body));
  for (std::int64_t decided : {0L, 99'999L, 201'000L}) {
    body.mutable_join()->set_decided_wall_ms(decided);
    EXPECT_EQ(read(body).error().kind, Kind::damaged) << decided;
  }
  body.clear_join();
  EXPECT_EQ(read(body).error().kind, Kind::damaged);
  body = good();
  body.mutable_join()->set_group("labs");
  EXPECT_EQ(read(body).error().words, "send_health has no join");
}

TEST(command_proto, every_verb_has_a_name_and_no_other_number_has) {
  for (int n = 1; n <= v1::CommandBody::Verb_MAX; ++n)
    EXPECT_EQ(verb_name(static_cast<std::uint32_t>(n)),
              Body::Verb_Name(static_cast<Body::Verb>(n)));
  EXPECT_EQ(verb_name(0), "");
  EXPECT_EQ(verb_name(Body::Verb_MAX + 1), "");
}

TEST(trust_set, is_read_as_it_was_made_and_refused_where_it_is_not_sound) {
  TrustSetTerms terms{2, 1, {}};
  TrustSetKey key;
  key.key.fill(7);
  key.id = policy_key_id(key.key);
  terms.keys.push_back(key);
  auto refused = [](const TrustSetTerms& one) {
    const std::string bytes = trust_set_bytes(one);
    return !trust_set_from_bytes(bytes_of(bytes));
  };
  const std::string bytes = trust_set_bytes(terms);
  auto again = trust_set_from_bytes(bytes_of(bytes));
  ASSERT_TRUE(again);
  EXPECT_EQ(again->keys[0].key, key.key);
  for (std::size_t size = 0; size < bytes.size(); ++size)
    if (auto cut = trust_set_from_bytes(bytes_of(bytes).first(size)))
      EXPECT_FALSE(cut->keys.empty()) << size;
  TrustSetTerms bad = terms;
  bad.number = 0;
  EXPECT_TRUE(refused(bad));
  bad = terms;
  bad.threshold = 2;
  EXPECT_TRUE(refused(bad));
  bad.keys.push_back(key);
  EXPECT_TRUE(refused(bad)) << "one key twice";
  bad = terms;
  bad.keys[0].id[0] ^= 1;
  EXPECT_TRUE(refused(bad));
  bad = terms;
  bad.keys.clear();
  EXPECT_TRUE(refused(bad));
}

}  // namespace
}  // namespace weir
