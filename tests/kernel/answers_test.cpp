// What a server of this machine is asked for by others has a number of its own: it is neither lost
// because an account for uploads is spent, nor free.
#include "tests/kernel/kernel_test.h"

namespace weir::test {
namespace {

constexpr std::uint64_t kUploads = 2'000;  // spent after a few answers
constexpr std::uint64_t kRoomy = std::uint64_t{1} << 40;
constexpr int kSnmp = 161, kWeb = 443;

class Answers : public KernelTest {
 protected:
  // Row 0: uploads of a person. Row 1: answers of the machine.
  void load(std::uint64_t answers) {
    weir_state state{};
    state.unclassified = 1;
    state.answers = 2;
    k->load({limit_row(kUploads, 0, WEIR_PER_PERSON), limit_row(answers, 0, WEIR_PER_HOST)}, {},
            state);
  }
  pid_t serve(int port, int size, int count = 1) {
    pid_t pid = k->desk.start({"--shape", "answer", "--port", std::to_string(port), "--size",
                               std::to_string(size), "--count", std::to_string(count), "--ms",
                               std::to_string(20'000 * scale())});
    k->desk.await_line(pid, "ready");
    return pid;
  }
};

TEST_F(Answers, of_a_name_server_go_on_when_the_account_for_uploads_is_spent) {
  load(kRoomy);
  serve(53, 200);
  const int asked = scale() > 1 ? 100 : 600;
  const Desk::Answers got = k->desk.peer_asks(53, asked, 40);
  EXPECT_EQ(got.questions, static_cast<std::uint64_t>(asked));
  EXPECT_EQ(k->charged(1), static_cast<std::uint64_t>(asked) * 228);
  EXPECT_EQ(k->charged(0), 0u) << "nothing of it is an upload";
  EXPECT_EQ(k->count(WEIR_COUNT_ANSWERS), static_cast<std::uint64_t>(asked));
}

TEST_F(Answers, end_at_their_number_and_then_at_that_of_uploads) {
  constexpr std::uint64_t kAnswers = 30'000;
  load(kAnswers);
  serve(kSnmp, 500, 2);
  const Desk::Answers got = k->desk.peer_asks(kSnmp, 60, 400);
  EXPECT_LE(k->charged(1), kAnswers);
  EXPECT_GT(k->charged(1), kAnswers - 528);
  EXPECT_LE(k->charged(0), kUploads);
  EXPECT_LE(got.bytes, k->charged(0) + k->charged(1));
  EXPECT_GT(got.bytes, kAnswers * 8 / 10);
  std::vector<weir_refused> told;
  k->part->poll_told([&](const weir_refused& r) { told.push_back(r); });
  EXPECT_TRUE(std::any_of(told.begin(), told.end(), [](const weir_refused& r) {
    return r.account.limit == 1;
  })) << "the operator hears why the server goes silent";
}

TEST_F(Answers, are_no_more_than_a_multiple_of_what_was_asked) {
  load(kRoomy);
  serve(53, 1000, 50);  // 50 kB to a question of 68 bytes with its headers
  const Desk::Answers got = k->desk.peer_asks(53, 10, 40);
  EXPECT_LE(k->charged(1), 10u * 68 * 21);
  EXPECT_GE(k->charged(1), 10u * 1028);
  EXPECT_LE(k->charged(0), kUploads);
  EXPECT_LE(got.bytes, k->charged(0) + k->charged(1));
}

TEST_F(Answers, of_a_server_that_hands_out_files_are_uploads) {
  load(kRoomy);
  serve(kWeb, 200);
  k->desk.peer_asks(kWeb, 12, 40);
  serve(k->desk.port(), 200);
  k->desk.peer_asks(k->desk.port(), 12, 40);
  EXPECT_EQ(k->charged(1), 0u);
  EXPECT_LE(k->charged(0), kUploads);
  EXPECT_GT(k->charged(0), kUploads - 228);
}

TEST_F(Answers, to_this_machines_own_questions_give_no_claim_to_others) {
  load(kRoomy);
  // Questions over loopback, and then what nobody outside asked for.
  pid_t server = serve(53, 1000);
  k->desk.finish(k->desk.start({"--udp", "--to", "127.0.0.1", "--port", "53", "--size", "1000",
                                "--bytes", "100000", "--ms", "300"}));
  const Desk::Answers got = k->desk.peer_asks(53, 1, 1);  // 29 bytes: less than the answer's
  EXPECT_EQ(got.questions, 1u);
  EXPECT_EQ(k->charged(1), 0u);
  EXPECT_EQ(k->charged(0), 1028u);
  k->desk.end(server);
}

}  // namespace
}  // namespace weir::test
