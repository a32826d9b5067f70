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
    std::string bytes = body.SerializeAsString() + order.tail;
    wire::OfferCommand message;
    message.id = id_of(order.called != 0 ? order.called : order.id);
    message.body_size = bytes.size();
    sign(message, order.purpose, bytes, {order.signer});
    if (order.tampered) bytes[bytes.size() / 2] ^= 1;
    hand_over("command", message, bytes);
    return next_state();
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
  for (Body::Verb verb : {Body::block_destination, Body::isolate, Body::forget_person})
    EXPECT_EQ(command({.id = ++id, .verb = verb}),
              "command 2 command_not_built " + Body::Verb_Name(verb));
  for (Body::Verb verb : {Body::undo, Body::except, Body::deny_request})
    EXPECT_TRUE(command({.id = ++id, .verb = verb}).starts_with("command 2 command_damaged "))
        << "it says of what";
  EXPECT_EQ(command({.id = 3}), "command 1  ") << "what was refused unread used no id up\n"
                                               << errors();
}

TEST_F(Commands, an_id_is_done_once_whatever_is_killed_and_started_again) {
  EXPECT_EQ(command({.id = 7}), "command 1  ");
  EXPECT_EQ(command({.id = 8, .verb = Body::isolate}), "command 2 command_not_built isolate");
  EXPECT_EQ(command({.id = 7}), "command 1   again");
  kill_guard();
  EXPECT_EQ(next_state(), "4 0  0") << errors();
  EXPECT_EQ(command({.id = 7}), "command 1   again");
  EXPECT_EQ(command({.id = 8, .verb = Body::isolate}), "command 2 command_not_built isolate again");
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
