// The program itself: ready, its end, and what it says when it can't start.
#include <fstream>

#include "tests/collector/serve/program.h"
#include "tests/collector/store/store_fixture.h"

namespace weir {
namespace {

class CollectorProgram : public ::testing::Test {
 protected:
  std::vector<std::string> arguments() {
    return {"serve",     "--data",     folder.path() + "/data", "--listen", "127.0.0.1:0",
            "--console", "127.0.0.1:0"};
  }
  Folder folder;
};

TEST_F(CollectorProgram, it_gets_ready_and_ends_cleanly_when_told_to) {
  for (int start = 0; start < 2; ++start) {
    Program program(arguments());
    ASSERT_TRUE(program.ready()) << program.text;
    program.signal(SIGTERM);
    EXPECT_EQ(program.exit_status(), 0) << program.text;
  }
}

TEST_F(CollectorProgram, killed_it_starts_again) {
  for (int start = 0; start < 5; ++start) {
    Program program(arguments());
    ASSERT_TRUE(program.ready()) << program.text;
    program.signal(SIGKILL);
    EXPECT_EQ(program.exit_status(), 128 + SIGKILL);
  }
}

TEST_F(CollectorProgram, a_damaged_store_is_a_sentence_and_exit_1) {
  {
    Program program(arguments());
    ASSERT_TRUE(program.ready()) << program.text;
    program.signal(SIGTERM);
    ASSERT_EQ(program.exit_status(), 0);
  }
  std::ofstream(folder.path() + "/data/store.db", std::ios::trunc) << std::string(9'000, 'x');
  Program program(arguments());
  EXPECT_EQ(program.exit_status(), 1);
  EXPECT_NE(program.text.find("store.db"), std::string::npos) << program.text;
  EXPECT_EQ(program.text.find("ready"), std::string::npos);
}

TEST_F(CollectorProgram, a_taken_port_and_a_second_collector_are_sentences_too) {
  Program first(arguments());
  ASSERT_TRUE(first.ready()) << first.text;
  Program second(arguments());
  EXPECT_EQ(second.exit_status(), 1);
  EXPECT_NE(second.text.find("another collector"), std::string::npos) << second.text;
  std::size_t at = first.text.find("agents: ") + 8;
  std::string address = first.text.substr(at, first.text.find(';', at) - at);
  Program third({"serve", "--data", folder.path() + "/other", "--listen", address, "--console",
                 "127.0.0.1:0"});
  EXPECT_EQ(third.exit_status(), 1);
  EXPECT_NE(third.text.find(address), std::string::npos) << third.text;
}

TEST_F(CollectorProgram, a_wrong_command_line_is_exit_2) {
  EXPECT_EQ(Program({"serve"}).exit_status(), 2);
  EXPECT_EQ(Program({"dance"}).exit_status(), 2);
}

}  // namespace
}  // namespace weir
