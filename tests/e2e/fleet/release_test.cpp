// Break-glass: a desk that its collector does not reach is released by what two persons say to each
// other, once for each challenge; it is isolated no more, its policy only observes, and the audit
// records say so when the collector is back.
#include <algorithm>
#include <cctype>
#include <cstring>
#include <ctime>
#include <fstream>

#include "core/base/spoken.h"
#include "core/policy/release.h"
#include "tests/e2e/fleet/commanded.h"

namespace weir {
namespace {

constexpr unsigned kNobody = 65'534;

bool is_group(const std::string& word) {
  return word.size() == 5 && std::ranges::all_of(word, [](unsigned char c) {
           return std::isdigit(c) != 0 || std::isupper(c) != 0;
         });
}

class BreakGlass : public Commanded {
 protected:
  void SetUp() override {
    Commanded::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    ASSERT_TRUE(soon([&] { return is_online(); }, kPatience_s)) << said();
    agent.end(SIGTERM);
    fs::permissions(base, fs::perms::others_exec, fs::perm_options::add);
    start();
  }
  // Until enforcement is in force: a guard that ends before that is not started again.
  void start() {
    const auto ready = [&] {
      const std::string log = content(base / "agent.log");
      std::size_t count = 0;
      for (std::size_t at = 0; (at = log.find("\nready\n", at)) != std::string::npos; ++at) ++count;
      return count;
    };
    const std::size_t before = ready();
    agent.start({WEIR_CLI, "run", "--state", state(), "--pin", base / "bpf", "--cgroup", cgroup,
                 "--exec-socket", socket()},
                {}, base / "agent.log");
    ASSERT_TRUE(soon([&] { return ready() > before; }, kPatience_s)) << said();
    ASSERT_TRUE(soon([&] { return weir({}).first == 0; }, kPatience_s)) << said();
  }
  std::string socket() const { return base / "run/exec"; }
  // `user`: as that one.
  std::pair<int, std::string> weir(std::vector<std::string> more, unsigned user = 0) {
    std::vector<std::string> words{WEIR_CLI, "release", "--socket", socket()};
    if (user != 0)
      words.insert(words.begin(), {"setpriv", "--reuid", std::to_string(user), "--clear-groups"});
    words.insert(words.end(), more.begin(), more.end());
    return run(words);
  }
  // The groups that it shows.
  std::string challenge(unsigned user = 0) {
    const std::string text = weir({}, user).second;
    std::string groups;
    std::istringstream words(text);
    for (std::string word; words >> word;)
      if (is_group(word)) groups += word + " ";
    EXPECT_EQ(groups.size(), spoken_groups(sizeof(ChallengeBytes)) * 6) << text << said();
    return groups;
  }
  std::pair<int, std::string> answer(const std::string& to, std::vector<std::string> more = {}) {
    std::vector<std::string> words{"hosts", "release", to};
    words.insert(words.end(), more.begin(), more.end());
    return ctl(words);
  }
  double released_s() const {
    const auto tables = pinned();
    const std::uint64_t until = tables ? tables->observed_until_boot_ns : 0;
    return until != 0 ? left_s(until) : 0;
  }
  v1::Command isolation(char seed) {
    Body body;
    body.set_lease_s(3'600);
    return signed_by_admin(Body::isolate, seed, body);
  }
  bool is_isolated() const {
    const auto tables = pinned();
    return tables && tables->isolated_until_boot_ns != 0;
  }
};

TEST_F(BreakGlass, an_isolated_desk_without_its_collector_is_released_by_two_persons) {
  ASSERT_TRUE(soon([&] { return is_online(); }, kPatience_s)) << said();
  ASSERT_EQ(send(isolation('a')).outcome(), v1::CommandResult::done) << said();
  collector->program.end(SIGKILL);
  ASSERT_TRUE(is_isolated());

  const std::string shown = challenge(kNobody);
  EXPECT_EQ(challenge(), shown) << "who asks once more does not overtake who reads it aloud";
  const auto [status, text] = answer(shown, {"--reason", "the office burns"});
  ASSERT_EQ(status, 0) << said();
  EXPECT_NE(content(collector->data / "admin.json.releases").find("the office burns"),
            std::string::npos);
  const auto start = Clock::now();
  const auto [taken, words] = weir({"--answer", text}, kNobody);
  ASSERT_EQ(taken, 0) << words << said();
  std::printf("from an answer to its effect: %.0f ms\n", seconds_since(start) * 1'000);
  EXPECT_NEAR(released_s(), kReleaseS, 60);
  EXPECT_FALSE(is_isolated()) << "it ends with it";
  const std::string now = weir_status();
  EXPECT_NE(now.find("RELEASED"), std::string::npos) << now;
  EXPECT_EQ(weir({"--answer", text}).first, 4) << "once";

  collector->start();
  ASSERT_TRUE(soon([&] { return is_online(); }, kPatience_s)) << said();
  ASSERT_TRUE(soon(
      [&] {
        const auto records = audited();
        return std::ranges::any_of(records, [](const auto& one) {
          return one.verb() == Body::release && one.outcome() == v1::CommandResult::done &&
                 one.key_ids_size() == 1;
        });
      },
      kPatience_s))
      << said();
  EXPECT_NE(content(state() / "reports.jsonl").find("host_released"), std::string::npos);
  const std::string health = ctl({"hosts", "health", host_id}).second;
  const std::size_t at = health.find("RELEASED until");
  ASSERT_NE(at, std::string::npos) << health;
  const std::string line = health.substr(at, health.find('\n', at) - at);
  EXPECT_EQ(ctl({"hosts", "undo", host_id, line.substr(line.size() - 32), "--yes"}).first, 0)
      << said();
  EXPECT_EQ(released_s(), 0);
}

TEST_F(BreakGlass, outlives_guard_and_agent_and_a_reboot_by_what_is_left_of_it) {
  const auto [status, text] = answer(challenge());
  ASSERT_EQ(status, 0) << said();
  ASSERT_EQ(weir({"--answer", text}).first, 0) << said();
  for (int n = 0; n < 3; ++n) {
    const pid_t before = guard();
    ASSERT_GT(before, 0);
    ::kill(before, SIGKILL);
    ASSERT_TRUE(soon([&] { return guard() != before && guard() != 0; }, kPatience_s));
    ASSERT_TRUE(soon([&] { return weir({}).first == 0; }, kPatience_s));
    EXPECT_GT(released_s(), kReleaseS - 300);
  }
  agent.end(SIGTERM);
  // As after a reboot, with a clock that was set back by a day: no pin is left, and the file is of
  // another boot.
  ASSERT_EQ(::umount2((base / "bpf").c_str(), MNT_DETACH), 0);
  const auto before = leases();
  HostRelease& release = before->release.now;
  ASSERT_EQ(release.holds, 1u);
  be_of_another_boot(release);
  release.until_wall_s += 86'400;
  release.left_s = 1'000;
  write_leases(*before);
  ASSERT_EQ(::mount("weir-fleet", (base / "bpf").c_str(), "bpf", 0, "mode=700"), 0);
  start();
  ASSERT_TRUE(soon([&] { return released_s() > 0; }, kPatience_s)) << said();
  EXPECT_LE(released_s(), 1'001);
  EXPECT_LE(leases()->release.now.left_s, 700u)
      << "the next boot has less, before this one has any of it";
}

TEST_F(BreakGlass, not_by_what_is_mistyped_of_another_host_or_made_up) {
  const std::string shown = challenge();
  std::string wrong = shown;
  wrong[7] = wrong[7] == '2' ? '3' : '2';
  EXPECT_EQ(answer(wrong).first, 2);
  EXPECT_NE(said().find("group 2 is mistyped"), std::string::npos) << said();
  EXPECT_EQ(answer(shown, {"--host", "00000000-0000-0000-0000-000000000000"}).first, 1);
  EXPECT_EQ(answer(shown, {"--host", host_id}).first, 0) << said();

  ReleaseChallenge other;
  other.host = host_mark("another host");
  const auto [status, text] = answer(spoken(bytes_of(other)));
  ASSERT_EQ(status, 0) << said();
  EXPECT_EQ(weir({"--answer", text}).first, 4) << "another host's";
  EXPECT_EQ(weir({"--answer", spoken(std::vector<std::uint8_t>(64, 1))}).first, 4) << "forged";
  EXPECT_EQ(weir({"--answer", shown}).first, 2) << "too short";
  EXPECT_EQ(weir({"--answer", text + " 00000"}).first, 2) << "too long";
  EXPECT_EQ(released_s(), 0);

  std::ofstream(base / "answer") << answer(shown).second;
  EXPECT_EQ(weir({"--answer", "@" + (base / "answer").string()}).first, 0) << said();
  EXPECT_GT(released_s(), 0);
}

TEST_F(BreakGlass, three_times_a_day_and_not_once_more) {
  for (int n = 0; n < 4; ++n) {
    const auto [status, text] = answer(challenge());
    ASSERT_EQ(status, 0) << said();
    EXPECT_EQ(weir({"--answer", text}).first, n < 3 ? 0 : 4) << said();
  }
  EXPECT_NE(said().find("three times within 24 hours"), std::string::npos) << said();
}

}  // namespace
}  // namespace weir
