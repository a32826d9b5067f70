// A collector's policy, offered to a running agent by a stand-in for the uplink: what is good comes
// into force in the kernel, what is not is refused by its reason, and the last good one comes back.
#include "tests/e2e/guarded_host.h"

namespace weir {
namespace {

using Push = GuardedHost;

TEST_F(Push, a_good_policy_comes_into_force_and_each_bad_one_is_refused_by_its_reason) {
  start();
  EXPECT_EQ(next_state(), "4 0  0");
  offer({.number = 3});
  ASSERT_EQ(next_state(), "1 3  0") << errors();
  EXPECT_EQ(kernel_bytes(), 1u << 20);
  await_kept();
  struct stat kept {};
  ASSERT_EQ(::stat((state() / "policy").c_str(), &kept), 0);
  EXPECT_EQ(kept.st_mode & 0777, 0600u);
  EXPECT_EQ(kept.st_uid, 0u);

  offer({.number = 4, .signer = 2});
  EXPECT_EQ(next_state(), "2 3 policy_unknown_key 0");
  offer({.number = 4, .tampered = true});
  EXPECT_EQ(next_state(), "2 3 policy_bad_signature 0");
  offer({.number = 3});
  EXPECT_EQ(next_state(), "2 3 policy_not_newer 3");
  offer({.number = 2});
  EXPECT_EQ(next_state(), "2 3 policy_not_newer 2");
  offer({.number = 4, .from = -60, .to = -1});
  EXPECT_EQ(next_state(), "2 3 policy_expired 4");
  offer({.number = 4, .from = 600});
  EXPECT_EQ(next_state(), "2 3 policy_not_yet 4");
  offer({.number = 4, .group = "sales"});
  EXPECT_EQ(next_state(), "2 3 policy_other_group 4");
  offer({.number = 4, .cut = 40});
  EXPECT_TRUE(next_state().starts_with("2 3 policy_damaged "));
  offer({.number = 4, .padding = kMaxEnvelopeBytes});
  EXPECT_EQ(next_state(), "2 3 policy_too_large 0");
  offer({.number = 4, .then = "warn"});
  EXPECT_EQ(next_state(), "2 3 policy_unenforceable 4");
  EXPECT_EQ(kernel_bytes(), 1u << 20) << "the last good one stays";

  EXPECT_NE(status().find("policy pushed"), std::string::npos) << status();

  offer({.number = 5, .limit = "2MiB"});
  EXPECT_EQ(next_state(), "1 5  0");
  EXPECT_EQ(kernel_bytes(), 2u << 20);
  EXPECT_EQ(stop(), 0) << errors();
  EXPECT_NE(errors().find("policy 5 is in force"), std::string::npos);
  EXPECT_EQ(errors().find("the engine ended"), std::string::npos) << "it took both policies";
  for (std::stringstream lines(errors()); !lines.eof();) {
    std::string line;
    std::getline(lines, line);
    if (line.find("is in force") != std::string::npos) std::printf("%s\n", line.c_str());
  }
}

// Sockets that no limit counts can be refused where the kernel calls BPF LSM (tier 2) only.
TEST_F(Push, a_policy_that_asks_for_what_this_host_lacks_is_refused_and_says_what) {
  const Result<void> lsm = KernelPart::try_lsm();
  if (lsm) GTEST_SKIP() << "this host is of tier 2";
  EXPECT_TRUE(lsm.error().sentence.starts_with("BPF LSM: ")) << lsm.error().sentence;
  const std::string needs = "defaults: other_families: prevent: " + lsm.error().sentence;
  const fs::path file = base_ / "prevents.yaml";
  const auto write = [&](const std::string& mode) {
    std::ofstream(file) << "apiVersion: weir/v1\nname: t\nmode: " << mode
                        << "\ndefaults: {other_families: prevent}\nrules:\n  - id: all\n"
                           "    then: {limit: {bytes: 1MiB, per: person}}\n";
  };
  write("enforce");
  const auto [status, said] =
      weir("run --policy " + file.string() + " --state " + (base_ / "other").string() +
           " --cgroup " + cgroup_ + " --pin " + (base_ / "bpf").string());
  EXPECT_EQ(status, 2) << said;
  EXPECT_NE(said.find(needs), std::string::npos) << said;
  write("observe");
  const auto [found, doctor] =
      weir("doctor --policy " + file.string() + " --state " + (base_ / "other").string());
  EXPECT_EQ(found, 6) << doctor;
  EXPECT_NE(doctor.find("not enforced: " + needs), std::string::npos) << doctor;
  EXPECT_NE(doctor.find("tier 1 on kernel"), std::string::npos) << doctor;

  start();
  EXPECT_EQ(next_state(), "4 0  0");
  offer({.number = 3});
  ASSERT_EQ(next_state(), "1 3  0") << errors();
  offer({.number = 4, .limit = "2MiB", .defaults = "{other_families: prevent}"});
  EXPECT_EQ(next_state(), "2 3 policy_host_lacks 4");
  EXPECT_EQ(kernel_bytes(), 1u << 20) << "the one before stays";
  EXPECT_NE(errors().find(needs), std::string::npos) << errors();
  offer({.number = 5, .limit = "2MiB", .defaults = "{other_families: detect}"});
  EXPECT_EQ(next_state(), "1 5  0");
}

TEST_F(Push, the_last_good_policy_comes_back_with_the_guard_and_with_the_agent) {
  start();
  EXPECT_EQ(next_state(), "4 0  0");
  offer({.number = 7, .limit = "3MiB"});
  ASSERT_EQ(next_state(), "1 7  0") << errors();
  await_kept();
  pid_t killed = guard();
  ASSERT_GT(killed, 0);
  ::kill(killed, SIGKILL);
  EXPECT_EQ(next_state(), "1 7  0") << "told to the next uplink";
  EXPECT_EQ(kernel_bytes(), 3u << 20);
  offer({.number = 7});
  EXPECT_EQ(next_state(), "2 7 policy_not_newer 7");
  EXPECT_EQ(stop(), 0) << errors();
  start();
  EXPECT_EQ(next_state(), "1 7  0") << errors();
  EXPECT_EQ(kernel_bytes(), 3u << 20);
}

TEST_F(Push, nonsense_of_the_uplink_ends_it_and_the_policy_stays) {
  start();
  EXPECT_EQ(next_state(), "4 0  0");
  offer({.number = 1});
  ASSERT_EQ(next_state(), "1 1  0") << errors();
  std::ofstream(base_ / "nonsense") << "nonsense";
  ASSERT_EQ(::chown((base_ / "nonsense").c_str(), kUplinkUser, kUplinkUser), 0);
  fs::rename(base_ / "nonsense", identity() / "nonsense");
  EXPECT_EQ(next_state(), "1 1  0") << "told to the next uplink";
  EXPECT_NE(errors().find("the uplink sent nonsense"), std::string::npos);
  EXPECT_EQ(kernel_bytes(), 1u << 20);
}

TEST_F(Push, without_enrolment_a_collector_is_refused_with_status_4) {
  fs::remove(state() / "trust");
  start();
  int status = 0;
  ::waitpid(agent_, &status, 0);
  agent_ = -1;
  EXPECT_EQ(WEXITSTATUS(status), 4);
  EXPECT_NE(errors().find("weir enroll"), std::string::npos);
}

}  // namespace
}  // namespace weir
