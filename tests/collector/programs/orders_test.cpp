// Orders of weirctl to one host, and the file that weirctl signs with, with programs.
#include <filesystem>
#include <future>

#include "tests/collector/programs/programs_fixture.h"

namespace weir {
namespace {

using Body = v1::CommandBody;
constexpr char kLease[] = "0123456789abcdef0123456789abcdef";

class OrdersOfPrograms : public ProgramsTest {
 protected:
  void SetUp() override {
    ProgramsTest::SetUp();
    host = enrol("desk-1");
    client = connect(host);
    ASSERT_TRUE(client->greet());
  }
  // What the host gets; it answers with `outcome`.
  Body told(v1::CommandResult::Outcome outcome, const std::string& code = "") {
    Body body;
    v1::ConnectResponse response;
    while (client->read(response) && !response.has_command()) {
    }
    EXPECT_TRUE(body.ParseFromString(response.command().body()));
    v1::ConnectRequest answer;
    answer.mutable_command_result()->set_id(response.command().id());
    answer.mutable_command_result()->set_outcome(outcome);
    if (!code.empty()) answer.mutable_command_result()->add_why()->set_code(code);
    EXPECT_TRUE(client->send(answer));
    return body;
  }
  std::future<Ran> ctl_later(std::vector<std::string> words) {
    return std::async(std::launch::async, [this, words] { return ctl(words); });
  }

  PlayedHost host;
  std::unique_ptr<Client> client;
};

TEST_F(OrdersOfPrograms, undo_is_signed_for_that_exception_and_tells_what_the_host_said) {
  auto undoing = ctl_later({"hosts", "undo", host.id, kLease, "--reason", "he has left"});
  const Body body = told(v1::CommandResult::done);
  EXPECT_EQ(undoing.get().status, 0);
  EXPECT_EQ(body.verb(), Body::undo);
  EXPECT_EQ(body.host_id(), host.id);
  EXPECT_EQ(body.lease_id(), kLease);
  EXPECT_EQ(body.reason().args(1), "he has left");
  undoing = ctl_later({"hosts", "undo", host.id, kLease});
  (void)told(v1::CommandResult::refused, "command_no_lease");
  const Ran refused = undoing.get();
  EXPECT_EQ(refused.status, 1);
  EXPECT_EQ(refused.err, "weirctl: host " + host.id +
                             " refused: Nothing of that id is in force on this host.\n");
  EXPECT_EQ(ctl({"hosts", "undo", host.id}).status, 2) << "of which exception?";
}

TEST_F(OrdersOfPrograms, what_changes_a_host_is_asked_about_at_a_terminal) {
  const Ran undo = ctl_at_a_terminal({"hosts", "undo", host.id, kLease}, "n\n");
  EXPECT_EQ(undo.status, 1);
  // What can be undone becomes more from version to version: the words between are not held here.
  EXPECT_NE(undo.out.find("Sign for host " + host.id + ": end the "), std::string::npos)
      << undo.out;
  EXPECT_NE(undo.out.find(std::string(" ") + kLease + "? [y/N]"), std::string::npos) << undo.out;
  const Ran renew = ctl_at_a_terminal({"hosts", "renew", host.id}, "n\n");
  EXPECT_EQ(renew.status, 1);
  EXPECT_NE(renew.out.find("nothing was signed"), std::string::npos) << renew.out;
  auto renewing = std::async(std::launch::async, [this] {
    return ctl_at_a_terminal({"hosts", "renew", host.id, "--yes"}, "");
  });
  EXPECT_EQ(told(v1::CommandResult::done).verb(), Body::renew_certificate);
  EXPECT_EQ(renewing.get().out, "host " + host.id + " has a new certificate\r\n");
}

TEST_F(OrdersOfPrograms, a_file_that_is_no_admin_json_is_told_with_what_is_wrong) {
  const std::string path = folder.path() + "/other.json";
  const auto said = [&] {
    const Ran ran = ctl({"hosts", "list", "--config", path});
    EXPECT_EQ(ran.status, 2);
    const std::string begin = "weirctl: " + path + ": ",
                      end =
                          "; --config names the admin.json that the collector made in its "
                          "--data folder\n";
    EXPECT_TRUE(ran.err.starts_with(begin) && ran.err.ends_with(end)) << ran.err;
    return ran.err.substr(begin.size(), ran.err.size() - begin.size() - end.size());
  };
  const auto write = [&](const std::string& text) { std::ofstream(path) << text; };
  EXPECT_EQ(said(), "can't be read (No such file or directory)");
  write("nonsense");
  EXPECT_EQ(said(), "is no JSON object");
  write(std::string(100'000, ' '));
  EXPECT_EQ(said(), "is larger than 65536 bytes, which no admin.json is");
  write("{}");
  EXPECT_EQ(said(), "has no address");
  AdminFile changed = admin;
  changed.door_key_sha256 = "beef";
  write(admin_file_text(changed));
  EXPECT_EQ(said(), "its doorKeySha256 is no SHA-256");
  changed = admin;
  changed.policy_secret_key.resize(64);
  write(admin_file_text(changed));
  EXPECT_EQ(said(), "its policySecretKey is no Ed25519 key");
  std::filesystem::remove(path);
  std::filesystem::create_directory(path);
  EXPECT_EQ(said(), "can't be read (Is a directory)");
}

}  // namespace
}  // namespace weir
