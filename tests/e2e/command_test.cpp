// Commands and sets of keys, offered to a running agent by a stand-in for the uplink: what is
// signed for this host is done once, whatever is killed in between; the rest is refused by its
// reason.
#include "proto/map/command_proto.h"
#include "tests/e2e/guarded_host.h"
#include "weir/v1/agent.pb.h"

namespace weir {
namespace {

using Body = v1::CommandBody;

struct AskedOf {
  std::uint8_t id = 1;
  Body::Verb verb = Body::send_health;
  std::string host = kHostId;
  std::int64_t from = -60, to = 3'600;  // seconds from now
  std::uint8_t signer = 1;
  bool tampered = false;
  std::string purpose = std::string(kCommandPurpose);
  std::string tail;         // bytes after the body, signed with it
  std::uint8_t called = 0;  // the id that the collector calls it by; 0: its own
  std::string group;        // of join_group
  std::uint32_t least = 0;
  std::int64_t decided_ms = 0;  // from now
};

template <class M>
void sign(M& message, std::string_view purpose, const std::string& bytes,
          std::initializer_list<std::uint8_t> signers) {
  for (std::uint8_t seed : signers) {
    Signer signer(seed);
    wire::OfferedSignature& out = message.signature[message.signatures++];
    out.key = policy_key_id(signer.key);
    const std::vector<std::uint8_t> covered = signed_bytes_of(purpose, bytes_of(bytes));
    ::crypto_sign_detached(out.signature.data(), nullptr, covered.data(), covered.size(),
                           signer.secret.data());
  }
}

class Commands : public GuardedHost {
 protected:
  void SetUp() override {
    GuardedHost::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    start();
    ASSERT_EQ(next_state(), "4 0  0") << errors();
  }

  static CommandIdBytes id_of(std::uint8_t seed) {
    CommandIdBytes id{};
    id.fill(seed);
    return id;
  }
  // What the guard says of it.
  std::string command(const AskedOf& order) {
    Body body;
    const std::int64_t now = std::time(nullptr);
    body.set_verb(order.verb);
    body.set_host_id(order.host);
    body.set_not_before_wall_s(now + order.from);
    body.set_expires_wall_s(now + order.to);
    body.set_id(text_of_command_id(id_of(order.id)));
    body.mutable_reason()->set_code("asked");
    body.mutable_reason()->add_args("admin");
    if (!order.group.empty()) {
      body.mutable_join()->set_group(order.group);
      body.mutable_join()->set_least_number(order.least);
      body.mutable_join()->set_decided_wall_ms(now * 1'000 + order.decided_ms);
    }
    return offer_command(order, body);
  }
  std::string offer_command(const AskedOf& order, const Body& body) {
    hand_over_command(order, body);
    return next_state();
  }
  void hand_over_command(const AskedOf& order, const Body& body) {
    std::string bytes = body.SerializeAsString() + order.tail;
    wire::OfferCommand message;
    message.id = id_of(order.called != 0 ? order.called : order.id);
    message.body_size = bytes.size();
    sign(message, order.purpose, bytes, {order.signer});
    if (order.tampered) bytes[bytes.size() / 2] ^= 1;
    hand_over("command", message, bytes);
  }

  struct Keys {
    std::uint32_t number = 2, threshold = 1;
    std::vector<std::uint8_t> seeds{2};
    std::initializer_list<std::uint8_t> signers{1, 2};
    std::string tail;
  };
  void offer_keys(const Keys& keys) {
    TrustSetTerms terms{keys.number, keys.threshold, {}};
    for (std::uint8_t seed : keys.seeds) {
      Signer signer(seed);
      terms.keys.push_back({policy_key_id(signer.key), signer.key, 0});
    }
    const std::string bytes = trust_set_bytes(terms) + keys.tail;
    wire::OfferTrust message;
    message.set_size = bytes.size();
    sign(message, kTrustPurpose, bytes, keys.signers);
    hand_over("trust", message, bytes);
  }
  std::string rotate(const Keys& keys) {
    offer_keys(keys);
    return next_state();
  }
  void kill_guard() {
    const pid_t killed = guard();
    ASSERT_GT(killed, 0);
    ::kill(killed, SIGKILL);
  }
};

TEST_F(Commands, a_signed_one_for_this_host_is_done_and_each_bad_one_is_refused_by_its_reason) {
  EXPECT_EQ(command({.id = 1}), "command 1  ");
  EXPECT_EQ(command({.id = 2, .verb = Body::renew_certificate}), "command 1  ");
  EXPECT_EQ(command({.id = 3, .signer = 2}), "command 2 command_unknown_key ");
  EXPECT_EQ(command({.id = 3, .tampered = true}), "command 2 command_bad_signature ");
  EXPECT_EQ(command({.id = 3, .purpose = "weir policy v1"}), "command 2 command_bad_signature ")
      << "a policy's signature is none for a command";
  EXPECT_EQ(command({.id = 3, .host = "another"}), "command 2 command_other_host ");
  EXPECT_EQ(command({.id = 3, .to = -1}), "command 3 command_expired ");
  EXPECT_EQ(command({.id = 3, .from = 1'000}), "command 2 command_not_yet ");
  EXPECT_EQ(command({.id = 3, .to = 30 * 86'400}), "command 2 command_too_long ");
  EXPECT_TRUE(command({.id = 3, .called = 4}).starts_with("command 2 command_damaged "));
  EXPECT_TRUE(command({.id = 3, .tail = "\xff"}).starts_with("command 2 command_damaged "));
  EXPECT_EQ(command({.id = 3, .verb = static_cast<Body::Verb>(99)}),
            "command 2 command_unknown_part verb 99");
  EXPECT_EQ(command({.id = 3, .tail = "\xa0\x06\x01"}),
            "command 2 command_unknown_part a field of CommandBody");
  std::uint8_t id = 10;
  EXPECT_EQ(command({.id = ++id, .verb = Body::forget_person}),
            "command 2 command_not_built forget_person");
  for (Body::Verb verb : {Body::block_destination, Body::isolate, Body::undo, Body::except,
                          Body::deny_request, Body::join_group})
    EXPECT_TRUE(command({.id = ++id, .verb = verb}).starts_with("command 2 command_damaged "))
        << "it says of what";
  EXPECT_EQ(command({.id = 3}), "command 1  ") << "what was refused unread used no id up\n"
                                               << errors();
}

TEST_F(Commands, an_id_is_done_once_whatever_is_killed_and_started_again) {
  EXPECT_EQ(command({.id = 7}), "command 1  ");
  EXPECT_EQ(command({.id = 8, .verb = Body::forget_person}),
            "command 2 command_not_built forget_person");
  EXPECT_EQ(command({.id = 7}), "command 1   again");
  kill_guard();
  EXPECT_EQ(next_state(), "4 0  0") << errors();
  EXPECT_EQ(command({.id = 7}), "command 1   again");
  EXPECT_EQ(command({.id = 8, .verb = Body::forget_person}),
            "command 2 command_not_built forget_person again");
  EXPECT_EQ(stop(), 0) << errors();
  start();
  EXPECT_EQ(next_state(), "4 0  0") << errors();
  EXPECT_EQ(command({.id = 7, .verb = Body::renew_certificate}), "command 1   again")
      << "also under another verb";
  EXPECT_EQ(command({.id = 9}), "command 1  ");
  struct stat kept {};
  ASSERT_EQ(::stat((state() / "commands").c_str(), &kept), 0);
  EXPECT_EQ(kept.st_mode & 0777, 0600u);
}

TEST_F(Commands, without_a_disk_to_remember_it_on_nothing_is_done) {
  fs::create_directories(state() / "commands" / "in_the_way");
  EXPECT_TRUE(command({.id = 1}).starts_with("command 2 command_failed "));
  fs::remove_all(state() / "commands");
  EXPECT_EQ(command({.id = 1}), "command 1  ");
}

TEST_F(Commands, keys_follow_others_if_the_old_and_the_new_threshold_have_signed) {
  offer({.number = 1});
  ASSERT_EQ(next_state(), "1 1  0") << errors();
  await_kept();
  EXPECT_EQ(rotate({.signers = {2}}), "1 1  0 keys 1 trust_unknown_key");
  EXPECT_EQ(rotate({.signers = {1}}), "1 1  0 keys 1 trust_threshold") << "the new one has to sign";
  EXPECT_EQ(rotate({.threshold = 2, .seeds = {2, 3}, .signers = {1, 2}}),
            "1 1  0 keys 1 trust_threshold");
  EXPECT_EQ(rotate({.number = 1, .seeds = {2}}), "1 1  0 keys 1 trust_not_next");
  EXPECT_EQ(rotate({.number = 3}), "1 1  0 keys 1 trust_not_next") << "no number is left out";
  EXPECT_EQ(rotate({.seeds = {2, 2}}), "1 1  0 keys 1 trust_damaged");
  EXPECT_EQ(rotate({.tail = "\xff"}), "1 1  0 keys 1 trust_damaged");
  EXPECT_EQ(rotate({}), "1 1  0 keys 2 ");
  EXPECT_EQ(command({.id = 1}), "command 2 command_unknown_key ") << "the old key counts no longer";
  EXPECT_EQ(command({.id = 1, .signer = 2}), "command 1  ");
  offer({.number = 2});
  EXPECT_EQ(next_state(), "2 1 policy_unknown_key 0 keys 2 ");
  EXPECT_EQ(rotate({}), "2 1 policy_unknown_key 0 keys 2 trust_not_next") << "not again";
  EXPECT_EQ(rotate({.number = 1, .seeds = {1}, .signers = {1, 2}}),
            "2 1 policy_unknown_key 0 keys 2 trust_not_next");

  kill_guard();
  EXPECT_EQ(next_state(), "1 1  0 keys 2 ") << "the policy outlives the key that brought it";
  EXPECT_EQ(kernel_bytes(), 1u << 20);
  EXPECT_EQ(rotate({.number = 3, .threshold = 2, .seeds = {3, 4}, .signers = {2, 3, 4}}),
            "1 1  0 keys 3 ");
  EXPECT_EQ(stop(), 0) << errors();
  start();
  EXPECT_EQ(next_state(), "1 1  0 keys 3 ") << errors();
  EXPECT_EQ(command({.id = 2, .signer = 3}), "command 2 command_threshold ");
  std::ifstream file(state() / "trust");
  std::stringstream text;
  text << file.rdbuf();
  EXPECT_NE(text.str().find("number 3\nthreshold 2\n"), std::string::npos) << text.str();
}

// ---- another group ------------------------------------------------------------------------------

class Joining : public Commands {
 protected:
  // Both answers to a command that is done: the state, then the outcome.
  std::string moved(const AskedOf& order) {
    const std::string state = command(order);
    return state + "; " + next_state();
  }
  std::string trust() {
    std::stringstream text;
    text << std::ifstream(state() / "trust").rdbuf();
    return text.str();
  }
  AskedOf join(std::uint8_t id, const std::string& group, std::uint32_t least,
               std::int64_t decided_ms = 0) {
    return {.id = id,
            .verb = Body::join_group,
            .group = group,
            .least = least,
            .decided_ms = decided_ms};
  }
};

TEST_F(Joining, the_policy_of_before_stays_until_the_new_groups_first_also_over_restarts) {
  offer({.number = 7, .limit = "1MiB"});
  ASSERT_EQ(next_state(), "1 7  0") << errors();
  await_kept();
  EXPECT_EQ(moved(join(1, "sales", 3)), "1 7  0 group sales has support; command 1  ");
  EXPECT_NE(trust().find("group sales\n"), std::string::npos) << trust();
  struct stat kept {};
  ASSERT_EQ(::stat((state() / "trust").c_str(), &kept), 0);
  EXPECT_EQ(kept.st_mode & 0777, 0600u);
  EXPECT_EQ(kernel_bytes(), 1u << 20);

  kill_guard();
  EXPECT_EQ(next_state(), "1 7  0 group sales has support") << errors();
  EXPECT_EQ(kernel_bytes(), 1u << 20) << "the last good one of before";
  EXPECT_EQ(stop(), 0) << errors();
  start();
  EXPECT_EQ(next_state(), "1 7  0 group sales has support") << errors();
  EXPECT_NE(status().find("this policy is of group support; the host belongs to sales now"),
            std::string::npos)
      << status();

  offer({.number = 8});
  EXPECT_EQ(next_state(), "2 7 policy_other_group 8 group sales has support");
  offer({.number = 2, .group = "sales"});
  EXPECT_EQ(next_state(), "2 7 policy_below_least 2 group sales has support");
  offer({.number = 3, .group = "sales", .limit = "2MiB"});
  EXPECT_EQ(next_state(), "1 3  0") << "below that of the group of before";
  EXPECT_EQ(kernel_bytes(), 2u << 20);
  EXPECT_EQ(status().find("this policy is of group"), std::string::npos) << status();
  EXPECT_TRUE(await([&] { return status().find("policy pushed") != std::string::npos; }));
  EXPECT_EQ(stop(), 0) << errors();
  start();
  EXPECT_EQ(next_state(), "1 3  0") << errors();
  EXPECT_EQ(kernel_bytes(), 2u << 20);
  offer({.number = 3, .group = "sales"});
  EXPECT_EQ(next_state(), "2 3 policy_not_newer 3");
}

TEST_F(Joining, what_is_not_signed_for_it_expired_or_decided_before_moves_no_host) {
  offer({.number = 7});
  ASSERT_EQ(next_state(), "1 7  0") << errors();
  await_kept();
  const std::string before = trust();
  AskedOf order = join(1, "sales", 1);
  order.signer = 2;
  EXPECT_EQ(command(order), "command 2 command_unknown_key ");
  order = join(1, "sales", 1);
  order.tampered = true;
  EXPECT_EQ(command(order), "command 2 command_bad_signature ");
  order = join(1, "sales", 1);
  order.purpose = "weir policy v1";
  EXPECT_EQ(command(order), "command 2 command_bad_signature ");
  order = join(1, "sales", 1);
  order.host = "another";
  EXPECT_EQ(command(order), "command 2 command_other_host ");
  order = join(1, "sales", 1, -2'000);
  order.to = -1;
  EXPECT_EQ(command(order), "command 3 command_expired ");
  EXPECT_EQ(command(join(1, "sales", 1, 600'000)), "command 2 command_not_yet ");
  EXPECT_TRUE(command(join(1, "two words", 1)).starts_with("command 2 command_damaged "));
  EXPECT_EQ(trust(), before);

  // A collector that plays back what it has: an id that was done, and an order that it kept back.
  EXPECT_EQ(moved(join(2, "sales", 1)), "1 7  0 group sales has support; command 1  ");
  offer({.number = 4, .group = "sales", .limit = "4MiB"});
  ASSERT_EQ(next_state(), "1 4  0") << errors();
  EXPECT_EQ(moved(join(3, "support", 1, 2'000)), "1 4  0 group support has sales; command 1  ");
  const std::string back = trust();
  EXPECT_EQ(command(join(2, "sales", 1)), "command 1   again");
  EXPECT_EQ(command(join(4, "sales", 1, -5'000)), "command 2 command_superseded ");
  EXPECT_EQ(trust(), back);
  offer({.number = 6});
  EXPECT_EQ(next_state(), "2 4 policy_below_least 6 group support has sales")
      << "it had the seventh";
  EXPECT_EQ(kernel_bytes(), 4u << 20);
  offer({.number = 7});
  EXPECT_EQ(next_state(), "1 7  0");
}

TEST_F(Joining, a_built_in_policy_stays_likewise_and_without_a_disk_nobody_moves) {
  fs::rename(state() / "trust", state() / "away");
  fs::create_directories(state() / "trust" / "in_the_way");
  EXPECT_TRUE(command(join(1, "sales", 0)).starts_with("command 2 command_failed "));
  fs::remove_all(state() / "trust");
  fs::rename(state() / "away", state() / "trust");
  // Its group stands on the disk: that holds, and is told, also where its id can't be remembered.
  fs::create_directories(state() / "commands" / "in_the_way");
  EXPECT_EQ(moved(join(1, "sales", 0)), "4 0  0; command 1  ");
  fs::remove_all(state() / "commands");
  offer({.number = 1, .group = "sales"});
  EXPECT_EQ(next_state(), "1 1  0") << errors();
}

TEST_F(Joining, killed_at_any_moment_the_host_is_in_one_group_and_its_policy_holds) {
  offer({.number = 7});
  ASSERT_EQ(next_state(), "1 7  0") << errors();
  await_kept();
  ASSERT_TRUE(await([&] { return errors().find("ready\n") != std::string::npos; })) << errors();
  int moved_before = 0;
  std::string group = "support";
  for (int n = 0; n < 6; ++n) {
    const std::string to = "group-" + std::to_string(n);
    Body body;
    const std::int64_t now = std::time(nullptr);
    body.set_verb(Body::join_group);
    body.set_host_id(kHostId);
    body.set_not_before_wall_s(now - 60);
    body.set_expires_wall_s(now + 3'600);
    body.set_id(text_of_command_id(id_of(static_cast<std::uint8_t>(50 + n))));
    body.mutable_join()->set_group(to);
    body.mutable_join()->set_decided_wall_ms(now * 1'000 + n);
    const AskedOf order{.id = static_cast<std::uint8_t>(50 + n)};
    hand_over_command(order, body);
    std::this_thread::sleep_for(std::chrono::milliseconds(10 + n * 15));
    const pid_t killed = guard();
    kill_guard();
    ASSERT_TRUE(await([&] { return guard() > 0 && guard() != killed; })) << errors();
    fs::remove(identity() / "command");
    std::size_t before = states().size();
    do {
      before = states().size();
      std::this_thread::sleep_for(std::chrono::milliseconds(900));
    } while (states().size() > before);
    moved_before += trust().find("group " + to + "\n") != std::string::npos;
    EXPECT_EQ(kernel_bytes(), 1u << 20);
    // The collector asks again: the answer is the same in the end.
    seen_ = states().size();
    std::string outcome = offer_command(order, body);
    // Before it: what is in force, once where the guard was late to say so, and where it joins.
    for (int others = 0; others < 3 && !outcome.starts_with("command"); ++others)
      outcome = next_state();
    EXPECT_TRUE(outcome.starts_with("command 1 ")) << outcome << errors();
    EXPECT_NE(trust().find("group " + to + "\n"), std::string::npos) << trust();
    group = to;
  }
  std::printf("6 kills while joining: %d times it had moved by then\n", moved_before);
  offer({.number = 1, .group = group, .limit = "2MiB"});
  EXPECT_EQ(next_state(), "1 1  0") << errors();
  EXPECT_EQ(kernel_bytes(), 2u << 20);
}

// Fewer than ten: `weir run` waits twice as long each time.
TEST_F(Commands, killed_at_any_moment_of_a_rotation_the_host_has_the_old_keys_or_the_new) {
  ASSERT_TRUE(await([&] { return errors().find("ready\n") != std::string::npos; })) << errors();
  int old_ones = 0, new_ones = 0;
  std::uint32_t number = 1;
  for (int n = 0; n < 7; ++n) {
    const auto from = static_cast<std::uint8_t>(number), to = static_cast<std::uint8_t>(number + 1);
    offer_keys({.number = number + 1, .seeds = {to}, .signers = {from, to}});
    std::this_thread::sleep_for(std::chrono::milliseconds(10 + n * 12));
    const pid_t killed = guard();
    kill_guard();
    std::size_t before = states().size();
    ASSERT_TRUE(await([&] { return guard() > 0 && guard() != killed; })) << errors();
    // What the dead one had not been offered yet is offered to the next, unless it is taken away.
    fs::remove(identity() / "trust");
    ASSERT_TRUE(await([&] { return states().size() > before; })) << errors();
    do {
      before = states().size();
      std::this_thread::sleep_for(std::chrono::milliseconds(700));
    } while (states().size() > before);
    seen_ = states().size();
    const std::string told = states().back();
    const std::string kept = number == 1 ? "4 0  0" : "4 0  0 keys " + std::to_string(number) + " ";
    if (told == "4 0  0 keys " + std::to_string(number + 1) + " ") {
      ++new_ones, ++number;
    } else {
      ++old_ones;
      EXPECT_EQ(told, kept);
    }
    // The one set or the other, whole.
    EXPECT_EQ(command({.id = static_cast<std::uint8_t>(100 + n),
                       .signer = static_cast<std::uint8_t>(number)}),
              "command 1  ")
        << errors();
  }
  std::printf("7 kills in rotations: %d times the old keys, %d times the new\n", old_ones,
              new_ones);
}

}  // namespace
}  // namespace weir
