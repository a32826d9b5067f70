// A person's exception, with the real programs: an upload stops at its limit, a signed command
// grants more, the same upload passes whole, and the grant ends by its bytes, by its time and by
// hand; nobody and nowhere else has more than before.
#include "agent/spool/spool.h"
#include "tests/e2e/desk/guarded_desk.h"

namespace weir {
namespace {

using std::chrono::milliseconds;

constexpr std::uint64_t kLimit = 256 << 10;
constexpr std::uint64_t kUpload = 1'000'000;

class ExceptionOnADesk : public GuardedDesk {
 protected:
  void SetUp() override {
    GuardedDesk::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    offer({.number = 1, .then = "{limit: {bytes: 256KiB, per: [person, destination]}}"});
    ASSERT_EQ(next_state(), "1 1  0") << errors();
  }

  // What of an upload of that size reached the peer.
  std::uint64_t upload(std::uint64_t bytes, const char* to = test::kPeer4) {
    const std::uint64_t before = desk_->received();
    const pid_t pid = desk_->start(
        {"--to", to, "--shape", "stay", "--bytes", std::to_string(bytes), "--ms", "30000"});
    desk_->settled(milliseconds(1500), milliseconds(15'000));
    desk_->end(pid);
    return desk_->received() - before;
  }

  // What the uplink would send: a record of the audit lane.
  std::optional<v1::ExceptionRequest> spooled_request() {
    const int folder = ::open((state() / "spool").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    std::optional<v1::ExceptionRequest> found;
    await([&] {
      auto reader = SpoolReader::open(folder);
      if (!reader) return false;
      auto piece = reader->read(SpoolLane::audit, 0, 1000, 1 << 20);
      if (!piece) return false;
      for (const SpoolRecord& one : piece->records) {
        v1::Record record;
        if (record.ParseFromArray(one.bytes.data(), static_cast<int>(one.bytes.size())) &&
            record.has_exception_request())
          found = record.exception_request();
      }
      return found.has_value();
    });
    ::close(folder);
    return found;
  }
  // The id of the newest report that a rule stopped something by.
  std::string stopped_report() {
    std::string id;
    await([&] {
      const auto [status, text] = ask("my-events --format json");
      std::istringstream lines(text);
      for (std::string line; std::getline(lines, line);) {
        const std::size_t at = line.find("\"id\":\"");
        if (at != std::string::npos && line.find("\"rule\":\"pushed\"") != std::string::npos)
          id = line.substr(at + 6, line.find('"', at + 6) - at - 6);
      }
      return !id.empty();
    });
    return id;
  }
};

TEST_F(ExceptionOnADesk, is_asked_for_by_the_person_who_was_stopped_and_the_answer_is_told) {
  EXPECT_LE(upload(kUpload), kLimit);
  const std::string id = stopped_report();
  ASSERT_FALSE(id.empty()) << ask("my-events").second << errors();
  EXPECT_EQ(ask("request nothing --because x").first, 2);
  EXPECT_EQ(ask("request " + id + " --because ''").first, 2);
  EXPECT_EQ(ask("request " + id + " --because x --bytes 1TB").first, 2);
  auto [status, text] = ask("request " + id + " --because 'the monthly list' --for 2h");
  EXPECT_EQ(status, 0) << text;
  EXPECT_NE(text.find("Nothing changes until one of them agrees"), std::string::npos) << text;
  const std::optional<v1::ExceptionRequest> request = spooled_request();
  ASSERT_TRUE(request) << errors();
  EXPECT_EQ(request->report_id(), id);
  EXPECT_EQ(request->rule(), "pushed");
  EXPECT_EQ(request->person().user().uid(), person());
  EXPECT_EQ(request->destination().address(), test::kPeer4);
  EXPECT_EQ(request->justification(), "the monthly list");
  EXPECT_EQ(request->bytes(), kLimit) << "as much as the limit again";
  EXPECT_EQ(request->duration_s(), 7200u);
  EXPECT_NE(ask("my-events").second.find("open: nobody has answered yet"), std::string::npos);

  EXPECT_EQ(grant({.request = request->id()}), "command 1  ");
  EXPECT_NE(ask("my-events").second.find("approved: 1.9 MiB until"), std::string::npos)
      << ask("my-events").second;
  EXPECT_EQ(upload(kUpload), kUpload);
  EXPECT_NE(this->status().find("exception " + id_text(1)), std::string::npos) << this->status();
  upload(4 * kUpload);
  EXPECT_NE(ask("my-events").second.find("used up: 1."), std::string::npos)
      << ask("my-events").second;
  EXPECT_EQ(this->status().find("exception " + id_text(1)), std::string::npos) << this->status();
  Body undo;
  undo.set_verb(Body::undo);
  undo.set_lease_id(id_text(1));
  EXPECT_EQ(send(undo, 9), "command 1  ");
  EXPECT_NE(ask("my-events").second.find(": ended "), std::string::npos) << ask("my-events").second;
  EXPECT_EQ(ask("my-events").second.find("approved:"), std::string::npos);

  EXPECT_EQ(ask("request " + id + " --because again").first, 0);
  Body deny;
  deny.set_verb(Body::deny_request);
  deny.mutable_exception()->set_request_id(request->id());
  EXPECT_EQ(send(deny, 2), "command 1  ");
  EXPECT_NE(ask("my-events").second.find("denied: ops"), std::string::npos);
  for (std::size_t n = 2; n < 8; ++n)
    EXPECT_EQ(ask("request " + id + " --because again").first, 0) << n;
  std::tie(status, text) = ask("request " + id + " --because again");
  EXPECT_EQ(status, 4) << text;
  EXPECT_NE(text.find("8 times in a day"), std::string::npos);
}

TEST_F(ExceptionOnADesk, that_the_host_refuses_or_hears_of_too_late_is_told_as_not_granted) {
  upload(kUpload);
  const std::string id = stopped_report();
  EXPECT_EQ(ask("request " + id + " --because 'the monthly list'").first, 0);
  const std::optional<v1::ExceptionRequest> request = spooled_request();
  ASSERT_TRUE(request) << errors();
  EXPECT_EQ(grant({.id = 1, .rule = "no-such", .request = request->id()}),
            "command 2 command_unknown_rule no-such");
  std::string told = ask("my-events").second;
  EXPECT_NE(told.find("this host refused: The policy in force has no rule no-such."),
            std::string::npos)
      << told;
  EXPECT_EQ(told.find("open:"), std::string::npos);
  EXPECT_EQ(grant({.id = 2, .for_s = -5, .request = request->id()}), "command 3 command_expired ");
  told = ask("my-events").second;
  EXPECT_NE(told.find("not granted: it was approved, but this host refused: It had expired"),
            std::string::npos)
      << told;
  EXPECT_EQ(grant({.id = 3, .request = request->id()}), "command 1  ");
  EXPECT_NE(ask("my-events").second.find("approved:"), std::string::npos) << "decided again";
}

TEST_F(ExceptionOnADesk, lets_the_stopped_upload_pass_whole_and_stops_where_its_bytes_end) {
  const std::uint64_t first = upload(kUpload);
  EXPECT_LE(first, kLimit);
  EXPECT_GT(first, kLimit / 2);
  EXPECT_EQ(grant({}), "command 1  ");
  EXPECT_EQ(upload(kUpload), kUpload) << errors();
  EXPECT_LE(upload(kUpload, test::kOther4), kLimit) << "another destination of the same person";
  const std::uint64_t rest = upload(4 * kUpload);
  std::printf("limit %lu, stopped at %lu; granted 2000000: %lu whole, then %lu\n", kLimit, first,
              kUpload, rest);
  EXPECT_LE(kUpload + rest, 2'000'000u);
  EXPECT_GT(kUpload + rest, 2'000'000u - (70u << 10)) << "less than a large packet is left";
  EXPECT_LE(first + upload(kUpload), kLimit) << "and the ordinary limit holds again";
  EXPECT_TRUE(await([&] {
    return ask("my-events").second.find("An exception let this person send") != std::string::npos;
  })) << ask("my-events").second;
}

TEST_F(ExceptionOnADesk, is_not_for_others_nor_for_a_name_that_is_not_proven) {
  const std::uint64_t first = upload(kUpload);
  EXPECT_EQ(grant({.id = 1, .person = 1}), "command 1  ");
  EXPECT_EQ(grant({.id = 2, .address = "", .name = "files.example"}),
            "command 2 command_unprovable files.example");
  EXPECT_LE(first + upload(kUpload), kLimit) << "its limit was spent, and neither is about it";
  EXPECT_EQ(grant({.id = 3, .rule = "no-such"}), "command 2 command_unknown_rule no-such");
  EXPECT_EQ(grant({.id = 4, .bytes = 1ull << 40}),
            "command 2 command_over_ceiling an exception is for at most 4 GiB");
  EXPECT_EQ(grant({.id = 5, .for_s = 100'000}),
            "command 2 command_over_ceiling an exception ends within 24 h");
  EXPECT_EQ(grant({.id = 6, .for_s = -5}), "command 3 command_expired ");
}

TEST_F(ExceptionOnADesk, ends_with_its_time_and_when_it_is_undone) {
  std::uint64_t ordinary = upload(kUpload);  // all of it within the limit
  const std::int64_t began = std::time(nullptr);
  EXPECT_EQ(grant({.id = 1, .bytes = 50'000'000, .for_s = 12}), "command 1  ");
  EXPECT_EQ(upload(100'000), 100'000u) << errors();
  while (std::time(nullptr) < began + 13) ::usleep(100'000);
  ordinary += upload(kUpload);
  EXPECT_LE(ordinary, kLimit) << "it has ended";
  EXPECT_EQ(grant({.id = 2, .bytes = 50'000'000}), "command 1  ");
  EXPECT_EQ(upload(100'000), 100'000u) << errors();
  Body undo;
  undo.set_verb(Body::undo);
  undo.set_lease_id(id_text(2));
  EXPECT_EQ(send(undo, 3), "command 1  ");
  ordinary += upload(kUpload);
  EXPECT_LE(ordinary, kLimit) << "it is undone";
  EXPECT_EQ(send(undo, 4), "command 2 command_no_lease ");
}

TEST_F(ExceptionOnADesk, outlives_the_engine) {
  const std::uint64_t first = upload(kUpload);
  EXPECT_EQ(grant({}), "command 1  ");
  const pid_t killed = engine();
  ASSERT_GT(killed, 0);
  ::kill(killed, SIGKILL);
  ASSERT_TRUE(await([&] { return engine() > 0 && engine() != killed; })) << errors();
  EXPECT_LE(first, kLimit);
  std::uint64_t passed = 0;  // one that starts takes a second to answer
  ASSERT_TRUE(await([&] { return (passed = upload(300'000)) == 300'000; })) << passed << errors();
}

TEST_F(ExceptionOnADesk, and_what_was_spent_of_it_outlive_the_guard) {
  EXPECT_LE(upload(kUpload), kLimit);
  EXPECT_EQ(grant({.id = 1, .bytes = 1'500'000}), "command 1  ");
  EXPECT_EQ(upload(kUpload), kUpload) << errors();
  const std::string shown = status();
  EXPECT_NE(shown.find("exception " + id_text(1)), std::string::npos) << shown;
  EXPECT_NE(shown.find("beside rule pushed"), std::string::npos) << shown;
  const pid_t killed = guard();
  ASSERT_GT(killed, 0);
  ::kill(killed, SIGKILL);
  EXPECT_EQ(next_state(), "1 1  0") << errors();
  EXPECT_EQ(grant({.id = 1, .bytes = 1'500'000}), "command 1   again") << "not a second time";
  const std::uint64_t rest = upload(kUpload);
  EXPECT_LE(rest, 500'000u);
  EXPECT_GT(rest, 500'000u - (70u << 10)) << errors();
}

}  // namespace
}  // namespace weir
