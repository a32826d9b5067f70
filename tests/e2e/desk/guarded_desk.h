// A running agent whose programs send to a peer that counts: kernel, guard, engine and `weir run`
// in a network namespace with a receiver, and commands as an administrator signs them.
#pragma once

#include "core/base/command_id.h"
#include "tests/e2e/guarded_host.h"
#include "tests/kernel/desk.h"
#include "weir/v1/agent.pb.h"

namespace weir {

class GuardedDesk : public GuardedHost {
 protected:
  using Body = v1::CommandBody;

  // Until the agent has told that it has no policy yet.
  void SetUp() override {
    WEIR_NEEDS_KERNEL();
    desk_.emplace();
    GuardedHost::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    fs::remove(cgroup_);
    cgroup_ = desk_->cgroup();
    start();
    ASSERT_EQ(next_state(), "4 0  0") << errors();
  }

  static std::uint32_t person() {
    std::uint32_t login = 0xffffffff;
    std::ifstream("/proc/self/loginuid") >> login;
    return login != 0xffffffff ? login : ::getuid();
  }
  static std::string id_text(std::uint8_t seed) {
    CommandIdBytes id{};
    id.fill(seed);
    return text_of_command_id(id);
  }
  // What the guard tells of it. `asked`: who asks, "": nobody says.
  std::string send(Body body, std::uint8_t id, const std::string& asked = "ops") {
    const std::int64_t now = std::time(nullptr);
    body.set_host_id(kHostId);
    body.set_not_before_wall_s(now - 60);
    body.set_expires_wall_s(now + 3600);
    body.set_id(id_text(id));
    if (!asked.empty()) {
      body.mutable_reason()->set_code("asked");
      body.mutable_reason()->add_args(asked);
    }
    const std::string bytes = body.SerializeAsString();
    wire::OfferCommand message;
    message.id.fill(id);
    message.body_size = bytes.size();
    message.signatures = 1;
    Signer signer(1);
    message.signature[0].key = policy_key_id(signer.key);
    const std::vector<std::uint8_t> covered = signed_bytes_of(kCommandPurpose, bytes_of(bytes));
    ::crypto_sign_detached(message.signature[0].signature.data(), nullptr, covered.data(),
                           covered.size(), signer.secret.data());
    hand_over("command", message, bytes);
    return next_state();
  }
  struct Grant {
    std::uint8_t id = 1;
    std::uint64_t bytes = 2'000'000;
    std::int64_t for_s = 3'600;
    std::string address = test::kPeer4, name;
    std::string rule = "pushed", request = "request-1";
    std::uint32_t person = 0;
  };
  // An administrator's signed word: this person may send there although the rule is there.
  std::string grant(const Grant& wanted) {
    Body body;
    body.set_verb(Body::except);
    v1::Exception& exception = *body.mutable_exception();
    exception.set_request_id(wanted.request);
    exception.add_sets_aside(wanted.rule);
    exception.mutable_person()->mutable_user()->set_uid(wanted.person + person());
    exception.mutable_destination()->set_address(wanted.address);
    exception.mutable_destination()->set_name(wanted.name);
    exception.set_bytes(wanted.bytes);
    exception.mutable_until()->set_seconds(std::time(nullptr) + wanted.for_s);
    return send(body, wanted.id);
  }

  std::pair<int, std::string> ask(const std::string& words) {
    return weir(words + " --socket " + socket().string());
  }
  pid_t engine() const {  // in our own cgroup, as the agent is
    for (const auto& entry : fs::directory_iterator("/proc")) {
      const std::string pid = entry.path().filename();
      if (pid.find_first_not_of("0123456789") != std::string::npos) continue;
      std::error_code gone;
      if (fs::read_symlink(entry.path() / "exe", gone) == base_ / "weir-engine")
        return static_cast<pid_t>(std::stol(pid));
    }
    return 0;
  }

  std::optional<test::Desk> desk_;
};

}  // namespace weir
