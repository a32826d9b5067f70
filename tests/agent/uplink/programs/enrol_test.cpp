// Enrolment and renewal at a collector's own door: tokens that are wrong, used, expired, raced, and
// crashes half-way.
#include <atomic>

#include "agent/guard/trust.h"
#include "agent/uplink/keys.h"
#include "agent/uplink/renewal.h"
#include "platform/files/small_file.h"
#include "tests/agent/uplink/programs/desk.h"

namespace weir {
namespace {

using Kind = DoorFailure::Kind;

class Enrolling : public FleetOfPrograms {
 protected:
  void SetUp() override {
    FleetOfPrograms::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    collector.emplace(base / "collector");
    collector->start();
  }
  fs::path state(const std::string& name) {
    fs::create_directories(base / name);
    return base / name;
  }
  DoorResult<HostFacts> enrol_at(const fs::path& dir, const std::string& text) {
    auto token = read_token(text);
    EXPECT_TRUE(token);
    return enrol(*token, {.hostname = "desk", .version = "0.1.0", .machine_id = dir.string()}, dir,
                 kUplinkUser);
  }
  int folder_of(const fs::path& dir) {
    return ::open((dir / "identity").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  }
  std::optional<Collector> collector;
};

TEST_F(Enrolling, a_token_makes_a_host_whose_files_only_the_uplink_reads) {
  fs::path dir = state("desk");
  auto host = enrol_at(dir, collector->token());
  ASSERT_TRUE(host) << host.error().sentence;
  EXPECT_EQ(host->group, "desks");
  EXPECT_EQ(host->agent_address, collector->address());
  for (const char* name : {"key.pem", "certificate.pem", "ca.pem", "host.json"}) {
    struct stat info {};
    ASSERT_EQ(::stat((dir / "identity" / name).c_str(), &info), 0) << name;
    EXPECT_EQ(info.st_mode & 07777, 0600u);
    EXPECT_EQ(info.st_uid, kUplinkUser);
  }
  auto trust = read_trust(content(dir / "trust"));
  ASSERT_TRUE(trust) << trust.error().sentence;
  EXPECT_EQ(trust->group, "desks");
  EXPECT_EQ(trust->keys.size(), 1u);
  auto known = enrolled_as(dir);
  ASSERT_TRUE(known && *known);
  EXPECT_EQ((*known)->host.host_id, host->host_id);
  auto left_s = (*known)->certificate_end_s - ::time(nullptr);
  EXPECT_NEAR(static_cast<double>(left_s), 7 * 86'400, 60);
}

TEST_F(Enrolling, a_token_that_is_wrong_used_or_expired_is_refused) {
  const std::string once = collector->token(), brief = collector->token(1, 1);
  auto wrong = read_token(once);
  wrong->secret[0] = static_cast<char>(wrong->secret[0] ^ 1);
  auto refused = enrol(*wrong, {}, state("wrong"), std::nullopt);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, Kind::refused) << refused.error().sentence;
  ASSERT_TRUE(enrol_at(state("one"), once));
  auto used = enrol_at(state("two"), once);
  ASSERT_FALSE(used);
  EXPECT_EQ(used.error().kind, Kind::refused);
  std::this_thread::sleep_for(std::chrono::milliseconds(2'100));
  auto expired = enrol_at(state("three"), brief);
  ASSERT_FALSE(expired);
  EXPECT_EQ(expired.error().kind, Kind::refused);
  for (const char* name : {"wrong", "two", "three"}) {
    auto known = enrolled_as(base / name);
    EXPECT_TRUE(known && !*known) << "and nothing is left of it";
    EXPECT_FALSE(fs::exists(base / name / "trust"));
  }
}

TEST_F(Enrolling, of_many_that_race_for_one_token_exactly_one_is_enrolled) {
  constexpr int kRacers = 40;
  const std::string text = collector->token();
  std::atomic<int> enrolled = 0, refused = 0;
  std::vector<std::thread> racers;
  for (int n = 0; n < kRacers; ++n)
    racers.emplace_back([&, dir = state(fmt::format("racer{}", n))] {
      auto host = enrol_at(dir, text);
      if (host) ++enrolled;
      if (!host && host.error().kind == Kind::refused) ++refused;
    });
  for (std::thread& racer : racers) racer.join();
  EXPECT_EQ(enrolled, 1);
  EXPECT_EQ(refused, kRacers - 1);
}

TEST_F(Enrolling, another_key_at_the_door_gets_no_secret_and_nobody_there_is_unreachable) {
  auto token = read_token(collector->token());
  token->door_key_sha256[0] ^= 1;
  auto impostor = enrol(*token, {}, state("impostor"), std::nullopt);
  ASSERT_FALSE(impostor);
  EXPECT_EQ(impostor.error().kind, Kind::refused);
  token->door_key_sha256[0] ^= 1;
  ASSERT_TRUE(enrol(*token, {}, state("later"), std::nullopt)) << "the secret was not spent";
  token->address = "127.0.0.1:9";
  auto nobody = enrol(*token, {}, state("nobody"), std::nullopt);
  ASSERT_FALSE(nobody);
  EXPECT_EQ(nobody.error().kind, Kind::unreachable);
}

TEST_F(Enrolling, what_a_crash_left_of_an_enrolment_does_not_stand_in_its_way) {
  fs::path dir = state("desk");
  ASSERT_TRUE(enrol_at(dir, collector->token()));
  fs::remove(dir / "identity" / "host.json");  // it comes last
  std::ofstream(dir / "identity" / "host.json.new") << "half";
  auto known = enrolled_as(dir);
  ASSERT_TRUE(known);
  EXPECT_FALSE(*known);
  EXPECT_TRUE(enrol_at(dir, collector->token()));
}

TEST_F(Enrolling, a_renewal_brings_a_new_key_and_the_host_stays_itself) {
  fs::path dir = state("desk");
  ASSERT_TRUE(enrol_at(dir, collector->token()));
  auto before = enrolled_as(dir);
  int folder = folder_of(dir);
  auto renewed = renew(folder, **before);
  ASSERT_TRUE(renewed) << renewed.error().sentence;
  auto after = read_identity(folder);
  ASSERT_TRUE(after && *after);
  EXPECT_NE((*after)->key_pem, (*before)->key_pem);
  EXPECT_EQ((*after)->host.host_id, (*before)->host.host_id);
  EXPECT_FALSE(fs::exists(dir / "identity" / "key.next.pem"));
  EXPECT_TRUE(renew(folder, **after)) << "and renews again";
  ::close(folder);
}

TEST_F(Enrolling, a_renewal_that_broke_off_leaves_a_host_that_works) {
  fs::path dir = state("desk");
  ASSERT_TRUE(enrol_at(dir, collector->token()));
  auto before = enrolled_as(dir);
  int folder = folder_of(dir);
  // Before the answer came: a key that nothing belongs to.
  ASSERT_TRUE(write_next_key(folder, HostKey::generate()->pem()));
  auto still = read_identity(folder);
  ASSERT_TRUE(still && *still);
  EXPECT_EQ((*still)->key_pem, (*before)->key_pem);
  // After the certificate was replaced and before the key was.
  auto renewed = renew(folder, **before);
  ASSERT_TRUE(renewed);
  ASSERT_TRUE(write_next_key(folder, renewed->key_pem));
  ASSERT_TRUE(replace_file(folder, "key.pem", (*before)->key_pem));
  auto whole = read_identity(folder);
  ASSERT_TRUE(whole && *whole) << whole.error().sentence;
  EXPECT_EQ((*whole)->key_pem, renewed->key_pem);
  ::close(folder);
}

TEST_F(Enrolling, a_renewal_by_another_key_is_refused) {
  fs::path dir = state("desk");
  ASSERT_TRUE(enrol_at(dir, collector->token()));
  auto identity = enrolled_as(dir);
  (*identity)->key_pem = HostKey::generate()->pem();
  int folder = folder_of(dir);
  auto renewed = renew(folder, **identity);
  ASSERT_FALSE(renewed);
  EXPECT_EQ(renewed.error().kind, Kind::refused) << renewed.error().sentence;
  ::close(folder);
}

// Takes the place of days: the certificate's own dates are the collector's, when to renew is ours.
TEST_F(Enrolling, an_uplink_whose_certificate_is_old_renews_it_by_itself_and_goes_on) {
  Desk desk(base / "desk");
  ASSERT_TRUE(desk.enrol_with(collector->token()));
  auto before = enrolled_as(desk.state);
  int folder = folder_of(desk.state);
  HostFacts facts = (*before)->host;
  facts.renew_after_s = ::time(nullptr) + 2;
  ASSERT_TRUE(replace_file(folder, "host.json", to_json(facts), kUplinkUser));
  desk.report(SpoolLane::alert, 3);
  desk.start();
  ASSERT_TRUE(soon([&] { return content(desk.log()).find("was renewed") != std::string::npos; }))
      << content(desk.log());
  auto after = read_identity(folder);
  ASSERT_TRUE(after && *after);
  EXPECT_NE((*after)->key_pem, (*before)->key_pem);
  EXPECT_GT((*after)->host.renew_after_s, ::time(nullptr) + 86'400);
  desk.report(SpoolLane::alert, 3);
  EXPECT_TRUE(soon([&] { return desk.all_acknowledged(); })) << content(desk.log());
  ::close(folder);
}

class EnrolCommand : public Enrolling {
 protected:
  int weir_enroll(const std::string& text, const fs::path& dir) {
    std::ofstream(base / "token") << text << "\n";
    Program weir;
    weir.start({WEIR_CLI, "enroll", "--token-file", base / "token", "--state", dir}, {},
               base / "log");
    return WEXITSTATUS(weir.end(0));
  }
};

TEST_F(EnrolCommand, its_exit_says_what_happened_and_a_second_time_changes_nothing) {
  const std::string text = collector->token();
  EXPECT_EQ(weir_enroll("weir1.broken!", state("desk")), 2);
  EXPECT_EQ(weir_enroll(text, state("desk")), 0);
  const std::string key = content(base / "desk/identity/key.pem");
  EXPECT_EQ(weir_enroll(text, state("desk")), 0) << "enrolled already";
  EXPECT_EQ(content(base / "desk/identity/key.pem"), key);
  EXPECT_EQ(weir_enroll(text, state("second")), 4);
  const std::string later = collector->token();
  collector->program.end(SIGKILL);
  EXPECT_EQ(weir_enroll(later, state("third")), 5);
}

TEST_F(EnrolCommand, a_token_that_everybody_may_read_is_taken_with_a_warning) {
  std::ofstream(base / "token") << "";
  ASSERT_EQ(::chmod((base / "token").c_str(), 0644), 0);
  EXPECT_EQ(weir_enroll(collector->token(), state("desk")), 0);
  EXPECT_NE(content(base / "log").find("its mode 0644 lets every user of this machine read it"),
            std::string::npos)
      << content(base / "log");
  fs::remove(base / "log");
  ASSERT_EQ(::chmod((base / "token").c_str(), 0640), 0);
  EXPECT_EQ(weir_enroll(collector->token(), state("second")), 0);
  EXPECT_EQ(content(base / "log").find("its mode"), std::string::npos) << "its group was chosen";
}

}  // namespace
}  // namespace weir
