// A desk that `weirctl policy assign` puts into another group: its policy comes into force there
// whatever number the one of before had, both groups' status says so, and a restart keeps it.
#include "platform/linux/pinned_tables.h"
#include "tests/e2e/fleet/commanded.h"

namespace weir {
namespace {

class Assigned : public Commanded {
 protected:
  void publish(const std::string& group, const std::string& limit) {
    std::ofstream(base / "policy.yaml")
        << "apiVersion: weir/v1\nname: bound\nmode: enforce\non_exit: release\nrules:\n"
           "  - id: all\n    when: {trust: unknown}\n    then: {limit: {bytes: "
        << limit << ", per: person}}\n";
    ASSERT_EQ(ctl({"policy", "publish", base / "policy.yaml", "--group", group}).first, 0)
        << said();
  }
  // The first row of the desk's kernel.
  std::uint64_t kernel_bytes() {
    Result<PinnedTables> tables = read_pinned((base / "bpf").string());
    return tables && tables->limits[0].per == WEIR_PER_PERSON ? tables->limits[0].bytes : 0;
  }
  std::string status(const std::string& group) {
    return ctl({"policy", "status", "--group", group}).second;
  }
  bool reads(const std::string& group, const std::string& text) {
    return soon([&] { return status(group).find(text) != std::string::npos; }, kPatience_s);
  }
  v1::PolicyState in_force() {
    v1::GetHostRequest request;
    request.set_id(host_id);
    return collector->ask<v1::GetHostResponse>("HostAdminService/GetHost", request).host().policy();
  }
  std::string line() { return ctl({"hosts", "list"}).second; }
  std::string trust() { return content(state() / "trust"); }

  static constexpr char kEffective[] =
      "policy 1 is desired: effective on 1, refused by 0, pending "
      "on 0\n";
  static constexpr char kNobody[] =
      "policy 1 is desired: effective on 0, refused by 0, pending on "
      "0\n";
};

TEST_F(Assigned, the_new_groups_policy_of_the_same_number_comes_into_force_and_stays) {
  ASSERT_TRUE(soon([&] { return is_online(); }, kPatience_s)) << said();
  publish("desks", "1MiB");
  publish("labs", "2MiB");
  ASSERT_TRUE(reads("desks", kEffective)) << status("desks") << said();
  EXPECT_EQ(status("labs"), kNobody);
  EXPECT_EQ(kernel_bytes(), 1u << 20);

  const auto start = Clock::now();
  EXPECT_EQ(ctl({"policy", "assign", host_id, "--group", "labs", "--reason", "a test"}).first, 0)
      << said();
  EXPECT_TRUE(soon([&] { return kernel_bytes() == 2u << 20; }, kPatience_s)) << said();
  std::printf("from weirctl policy assign to the new bound %.0f ms\n", seconds_since(start) * 1e3);
  EXPECT_TRUE(reads("labs", kEffective)) << status("labs") << said();
  EXPECT_EQ(status("desks"), kNobody);
  EXPECT_NE(line().find("labs"), std::string::npos) << line();
  EXPECT_EQ(in_force().group(), "labs");
  EXPECT_EQ(in_force().policy_group(), "labs");

  agent.end(SIGTERM);
  start_agent();
  EXPECT_TRUE(soon([&] { return kernel_bytes() == 2u << 20; }, kPatience_s)) << said();
  collector->program.end(SIGKILL);
  collector->start();
  EXPECT_TRUE(soon([&] { return is_online(); }, kPatience_s)) << said();
  EXPECT_TRUE(reads("labs", kEffective)) << status("labs");
  EXPECT_EQ(status("desks"), kNobody);

  ASSERT_TRUE(soon([&] { return !audited().empty(); }, kPatience_s)) << said();
  EXPECT_EQ(audited()[0].verb(), Body::join_group);
  EXPECT_EQ(audited()[0].outcome(), v1::CommandResult::done);
  EXPECT_EQ(audited()[0].asked(), "admin: a test");

  publish("labs", "3MiB");
  EXPECT_TRUE(soon([&] { return kernel_bytes() == 3u << 20; }, kPatience_s)) << said();
}

TEST_F(Assigned, the_same_text_under_the_same_number_is_sent_too) {
  ASSERT_TRUE(soon([&] { return is_online(); }, kPatience_s)) << said();
  publish("desks", "1MiB");
  publish("labs", "1MiB");
  ASSERT_TRUE(reads("desks", kEffective)) << status("desks") << said();
  const std::string digest = in_force().digest();
  EXPECT_EQ(ctl({"policy", "assign", host_id, "--group", "labs"}).first, 0) << said();
  EXPECT_TRUE(reads("labs", kEffective)) << status("labs") << said();
  EXPECT_EQ(in_force().digest(), digest) << "nothing but the group tells them apart";
  EXPECT_EQ(in_force().policy_group(), "labs");
}

TEST_F(Assigned, a_desk_that_is_away_joins_at_its_return_and_belongs_to_its_group_until_then) {
  ASSERT_TRUE(soon([&] { return is_online(); }, kPatience_s)) << said();
  publish("desks", "1MiB");
  publish("labs", "2MiB");
  ASSERT_TRUE(reads("desks", kEffective)) << status("desks") << said();
  agent.end(SIGTERM);
  EXPECT_EQ(ctl({"policy", "assign", host_id, "--group", "labs"}).first, 1);
  EXPECT_NE(said().find("belongs to group desks until it has answered"), std::string::npos)
      << said();
  EXPECT_NE(status("labs").find("of group desks, is told to join and has not answered"),
            std::string::npos)
      << status("labs");
  EXPECT_EQ(status("desks"), kEffective);
  collector->program.end(SIGKILL);
  collector->start();
  EXPECT_NE(status("labs").find("is told to join"), std::string::npos) << status("labs");
  start_agent();
  EXPECT_TRUE(soon([&] { return kernel_bytes() == 2u << 20; }, kPatience_s)) << said();
  EXPECT_TRUE(reads("labs", kEffective)) << status("labs") << said();
  EXPECT_EQ(status("labs"), kEffective) << "nobody is on the way any more";
  EXPECT_EQ(status("desks"), kNobody);
}

TEST_F(Assigned, a_group_without_a_policy_leaves_the_old_one_in_force_also_over_a_restart) {
  ASSERT_TRUE(soon([&] { return is_online(); }, kPatience_s)) << said();
  publish("desks", "1MiB");
  ASSERT_TRUE(reads("desks", kEffective)) << status("desks") << said();
  EXPECT_EQ(ctl({"policy", "assign", host_id, "--group", "labs"}).first, 0) << said();
  EXPECT_NE(said().find("belongs to group labs, which has no policy yet"), std::string::npos)
      << said();
  EXPECT_TRUE(reads("labs", "the group has no policy: what its hosts have stays in force on 1\n"))
      << status("labs");
  EXPECT_NE(status("labs").find("has 1 of group desks"), std::string::npos) << status("labs");
  EXPECT_NE(line().find("1 effective of group desks"), std::string::npos) << line();
  agent.end(SIGTERM);
  start_agent();
  EXPECT_TRUE(soon([&] { return kernel_bytes() == 1u << 20; }, kPatience_s)) << said();
  EXPECT_EQ(run({WEIR_CLI, "status", "--state", state()}).second.find("weir status:"),
            std::string::npos);
  EXPECT_NE(run({WEIR_CLI, "status", "--state", state()})
                .second.find("this policy is of group desks; the host belongs to labs now"),
            std::string::npos);
  ASSERT_TRUE(soon([&] { return is_online(); }, kPatience_s)) << said();
  publish("desks", "4MiB");
  publish("labs", "2MiB");
  EXPECT_TRUE(soon([&] { return kernel_bytes() == 2u << 20; }, kPatience_s)) << said();
  EXPECT_TRUE(reads("labs", kEffective)) << status("labs") << said();
}

// It has what administrators signed, and nothing else: it can't move a desk back.
TEST_F(Assigned, a_collector_that_plays_back_what_was_signed_moves_nobody) {
  ASSERT_TRUE(soon([&] { return is_online(); }, kPatience_s)) << said();
  publish("desks", "1MiB");
  publish("desks", "5MiB");
  publish("labs", "2MiB");
  publish("labs", "6MiB");
  ASSERT_EQ(ctl({"policy", "assign", host_id, "--group", "labs"}).first, 0) << said();
  ASSERT_TRUE(soon([&] { return kernel_bytes() == 6u << 20; }, kPatience_s)) << said();
  ASSERT_EQ(ctl({"policy", "assign", host_id, "--group", "desks"}).first, 0) << said();
  ASSERT_TRUE(soon([&] { return kernel_bytes() == 5u << 20; }, kPatience_s)) << said();
  const std::string before = trust();

  collector->program.end(SIGKILL);
  {
    auto db = Database::open(collector->data / "store.db", Database::Mode::write);
    ASSERT_TRUE(db);
    ASSERT_TRUE(db->run("UPDATE commands SET result = x'', result_s = 0"));
    ASSERT_TRUE(db->run("DELETE FROM policies WHERE number > 1"));
    ASSERT_TRUE(db->run("UPDATE hosts SET grp = 'labs'"));
  }
  collector->start();
  ASSERT_TRUE(soon([&] { return is_online(); }, kPatience_s)) << said();
  ASSERT_EQ(ctl({"hosts", "health", host_id}).first, 0) << said();
  // By its id, which it has done, or by its decision, which is older.
  EXPECT_TRUE(
      soon([&] { return said().find("was done before") != std::string::npos; }, kPatience_s))
      << said();
  EXPECT_EQ(trust(), before);
  EXPECT_EQ(kernel_bytes(), 5u << 20);
  EXPECT_EQ(in_force().group(), "desks");
  EXPECT_NE(line().find("desks"), std::string::npos)
      << "it says so, and the newest command of it does\n"
      << line();
}

}  // namespace
}  // namespace weir
