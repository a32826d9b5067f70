// A signed policy on its way down, and what the host has in force on its way up. The guard is
// played here: what it gets must be what was signed, byte for byte.
#include <sys/mman.h>

#include "collector/fleet/crypto.h"
#include "core/policy/default_policy.h"
#include "proto/map/policy_proto.h"
#include "tests/agent/uplink/programs/desk.h"
#include "weir/v1/policy.pb.h"

namespace weir {
namespace {

class Policies : public CollectorAndDesk {
 protected:
  void SetUp() override {
    CollectorAndDesk::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    desk->start();
    desk->report(SpoolLane::alert, 1);
    ASSERT_TRUE(soon([&] { return desk->all_acknowledged(); })) << content(desk->log());
  }
  v1::SignedPolicy signed_policy(std::uint32_t number) {
    AdminFile admin = collector->admin();
    Policy policy = *default_policy();
    policy.number = number;
    v1::PolicyEnvelope envelope;
    envelope.set_policy(policy_bytes(policy));
    envelope.set_number(number);
    envelope.set_not_before_wall_s(::time(nullptr) - 60);
    envelope.set_expires_wall_s(::time(nullptr) + 86'400);
    envelope.set_target("desks");
    v1::SignedPolicy out;
    out.set_envelope(envelope.SerializeAsString());
    v1::PolicySignature& signature = *out.add_signatures();
    signature.set_key_id(unhex(admin.policy_key_id));
    signature.set_signature(
        sign_ed25519(unhex(admin.policy_secret_key), "weir policy v1", bytes_of(out.envelope())));
    return out;
  }
  void publish(const v1::SignedPolicy& policy) {
    v1::PublishPolicyRequest request;
    *request.mutable_policy() = policy;
    request.set_group("desks");
    collector->ask<v1::PublishPolicyResponse>("PolicyAdminService/PublishPolicy", request);
  }
  v1::GetPolicyStatusResponse status() {
    v1::GetPolicyStatusRequest request;
    request.set_group("desks");
    return collector->ask<v1::GetPolicyStatusResponse>("PolicyAdminService/GetPolicyStatus",
                                                       request);
  }

  struct Offered {
    wire::OfferPolicy message;
    std::string envelope;
    int seals = 0;
  };
  // What the guard would hear next but for beats, checked as it checks.
  std::optional<Offered> hear(double within_s = 10) {
    for (auto start = Clock::now(); seconds_since(start) < within_s;) {
      std::uint8_t buffer[wire::kUplinkReceiveBuffer];
      iovec part{buffer, sizeof buffer};
      alignas(cmsghdr) char control[CMSG_SPACE(4 * sizeof(int))] = {};
      msghdr header{};
      header.msg_iov = &part;
      header.msg_iovlen = 1;
      header.msg_control = control;
      header.msg_controllen = sizeof control;
      ssize_t got = ::recvmsg(desk->guard, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
      if (got <= 0) {
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
        continue;
      }
      const cmsghdr* head = CMSG_FIRSTHDR(&header);
      std::size_t count = head == nullptr ? 0 : (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      auto message = session.on({buffer, static_cast<std::size_t>(got)}, count,
                                static_cast<std::uint64_t>(seconds_since(began) * 1e9));
      EXPECT_TRUE(message) << "the guard would end this uplink";
      if (!message) return std::nullopt;
      const auto* offer = std::get_if<wire::OfferPolicy>(&*message);
      if (offer == nullptr) continue;
      Offered offered{.message = *offer};
      int memory = -1;
      std::memcpy(&memory, CMSG_DATA(head), sizeof memory);
      offered.envelope.resize(offer->envelope_size);
      EXPECT_EQ(::pread(memory, offered.envelope.data(), offered.envelope.size(), 0),
                static_cast<ssize_t>(offered.envelope.size()));
      offered.seals = ::fcntl(memory, F_GET_SEALS);
      ::close(memory);
      return offered;
    }
    return std::nullopt;
  }

  const Clock::time_point began = Clock::now();
  wire::UplinkSession session;
};

using State = wire::PolicyStateMessage::State;

TEST_F(Policies, a_published_policy_reaches_the_guard_as_it_was_signed) {
  v1::SignedPolicy policy = signed_policy(7);
  auto start = Clock::now();
  publish(policy);
  auto offered = hear();
  ASSERT_TRUE(offered) << content(desk->log());
  fmt::print("the guard was offered the policy {:.0f} ms after publishing began\n",
             seconds_since(start) * 1'000);
  EXPECT_EQ(offered->envelope, policy.envelope());
  EXPECT_EQ(offered->seals, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
  ASSERT_EQ(offered->message.signatures, 1u);
  const auto& signature = offered->message.signature[0].signature;
  EXPECT_EQ(std::string(signature.begin(), signature.end()), policy.signatures(0).signature());

  EXPECT_EQ(status().effective(), 0u);
  desk->tell(State::effective, 7);
  EXPECT_TRUE(soon([&] { return status().effective() == 1; }));
}

TEST_F(Policies, a_refusal_by_the_guard_is_told_and_the_uplink_decides_nothing) {
  v1::SignedPolicy policy = signed_policy(3);
  publish(policy);
  ASSERT_TRUE(hear());
  wire::PolicyStateMessage refused;
  refused.state = static_cast<std::uint32_t>(State::refused);
  refused.refused_number = 3;
  refused.reason = static_cast<std::uint32_t>(wire::Refusal::unknown_key);
  desk->tell(refused);
  EXPECT_TRUE(soon([&] { return status().refused() == 1; }));
}

TEST_F(Policies, one_that_was_published_while_the_host_was_away_is_offered_at_its_return) {
  desk->uplink.end(SIGKILL);
  v1::SignedPolicy policy = signed_policy(9);
  publish(policy);
  session = {};
  desk->start();
  auto offered = hear();
  ASSERT_TRUE(offered) << content(desk->log());
  EXPECT_EQ(offered->envelope, policy.envelope());
}

TEST_F(Policies, many_at_once_do_not_end_the_uplink_and_the_newest_gets_through) {
  v1::SignedPolicy last;
  for (std::uint32_t number = 1; number <= 40; ++number) publish(last = signed_policy(number));
  std::string newest;
  while (auto offered = hear(2)) newest = offered->envelope;
  EXPECT_EQ(newest, last.envelope());
  EXPECT_TRUE(desk->uplink.runs());
}

}  // namespace
}  // namespace weir
