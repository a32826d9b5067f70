// A collector whose folder was put back from an older copy: what is missing says so, and the fleet
// follows again.
#include <filesystem>

#include "tests/collector/programs/programs_fixture.h"

namespace weir {
namespace {

namespace fs = std::filesystem;

class RestoredCollector : public ProgramsTest {
 protected:
  void SetUp() override {
    ProgramsTest::SetUp();
    std::ofstream(policy()) << "apiVersion: weir/v1\nname: desks\nrules:\n"
                               "  - {id: all, when: {trust: unknown}, then: log}\n";
    host = enrol("desk-1");
    client = connect(host);
  }
  std::string policy() const { return folder.path() + "/policy.yaml"; }
  std::string copy() const { return folder.path() + "/copy"; }
  void keep_a_copy() {
    client.reset();
    stop();
    fs::copy(data(), copy(), fs::copy_options::recursive);
    start();
    client = connect(host);
  }
  void put_it_back() {
    client.reset();
    stop();
    fs::remove_all(data());
    fs::copy(copy(), data(), fs::copy_options::recursive);
    start();
    client = connect(host);
  }
  std::string publish() { return ctl({"policy", "publish", policy(), "--group", "desks"}).err; }

  PlayedHost host;
  std::unique_ptr<Client> client;
};

TEST_F(RestoredCollector, a_gap_of_its_own_doing_is_told_apart_from_the_host_s) {
  ASSERT_TRUE(client->greet());
  ASSERT_TRUE(client->reports(1, 10));
  ASSERT_TRUE(client->acknowledged(10));
  keep_a_copy();
  ASSERT_TRUE(client->greet());
  ASSERT_TRUE(client->reports(11, 10));
  ASSERT_TRUE(client->acknowledged(20));
  put_it_back();
  ASSERT_TRUE(client->greet_remembering(20, 0));
  ASSERT_TRUE(client->lost(11, 25)) << "its own spool has lost five more";
  ASSERT_TRUE(client->acknowledged(25));
  ASSERT_TRUE(client->reports(26, 1));
  ASSERT_TRUE(client->acknowledged(26));
  const Ran verified = ctl({"evidence", "verify", host.id});
  EXPECT_EQ(verified.status, 0) << verified.err;
  EXPECT_EQ(verified.out,
            "11 records, 2 gaps that were told, 0 breaks\n"
            "  alert 11 to 20 are missing: the collector was put back from an older copy\n"
            "  alert 21 to 25 are missing: the host's spool was full\n");
  stop();
  EXPECT_NE(program->text.find("host " + host.id +
                               " was told that more is stored than there is: alert 20 (here: 10)"),
            std::string::npos)
      << program->text;
}

TEST_F(RestoredCollector, a_policy_gets_a_number_that_hosts_follow) {
  EXPECT_EQ(publish(), "policy 1 is published for group desks\n");
  keep_a_copy();
  EXPECT_EQ(publish(), "policy 2 is published for group desks\n");
  EXPECT_EQ(publish(), "policy 3 is published for group desks\n");
  put_it_back();
  ASSERT_TRUE(client->greet("boot-1", 3));
  const Ran status = ctl({"policy", "status", "--group", "desks"});
  EXPECT_NE(status.out.find("hosts have a policy 3 that this collector does not know"),
            std::string::npos)
      << status.out;
  EXPECT_EQ(publish(), "policy 4 is published for group desks\n");
  v1::ConnectResponse response;
  v1::PolicyEnvelope envelope;
  while (envelope.number() != 4 && client->read(response))
    (void)envelope.ParseFromString(response.policy().envelope());
  EXPECT_EQ(envelope.number(), 4u);
}

TEST_F(RestoredCollector, a_rollback_finds_the_text_before_and_says_which) {
  const auto write = [&](const std::string& name) {
    std::ofstream(policy()) << "apiVersion: weir/v1\nname: " << name
                            << "\nrules:\n  - {id: all, when: {trust: unknown}, then: log}\n";
  };
  const auto back = [&] { return ctl({"policy", "rollback", "--group", "desks"}); };
  const Ran none = back();
  EXPECT_EQ(none.status, 1);
  EXPECT_NE(none.err.find("the group desks has no policy to go back to"), std::string::npos)
      << none.err;
  write("first");
  EXPECT_EQ(publish(), "policy 1 is published for group desks\n");
  ASSERT_TRUE(client->greet("boot-1", 30)) << "a copy was put back: hosts are ahead";
  write("second");
  EXPECT_EQ(publish(), "policy 31 is published for group desks\n");
  EXPECT_EQ(ctl({"policy", "rotate-key"}).status, 0);
  admin = *read_admin_file_text(content(data() + "/admin.json"));
  const Ran ran = back();
  EXPECT_EQ(ran.status, 0);
  EXPECT_TRUE(ran.err.starts_with(
      "policy 33 is published for group desks: it has the text of 1 (first, published 2"))
      << ran.err;
  EXPECT_TRUE(ran.err.ends_with(" by admin) in place of that of 32\n")) << ran.err;
  EXPECT_EQ(back().status, 1) << "it does not go to and fro";
  EXPECT_EQ(ctl({"policy", "rollback", "--group", "desks", "--to", "31"}).status, 0);
  EXPECT_EQ(back().err.substr(0, 72),
            "policy 35 is published for group desks: it has the text of 1 (first, pub");
}

TEST_F(RestoredCollector, a_host_that_makes_numbers_up_does_not_use_them_up) {
  EXPECT_EQ(publish(), "policy 1 is published for group desks\n");
  ASSERT_TRUE(client->greet("boot-1", 4'294'967'295));
  EXPECT_EQ(publish(), "policy 2 is published for group desks\n");
}

}  // namespace
}  // namespace weir
