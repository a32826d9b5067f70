// Files that a caller names: regular ones, pipes with and without a writer, and what is neither.
#include "platform/input/input.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <thread>

namespace weir {
namespace {

class InputTest : public testing::Test {
 protected:
  void SetUp() override {
    char folder[] = "/tmp/weir-input-XXXXXX";
    ASSERT_NE(::mkdtemp(folder), nullptr);
    folder_ = folder;
  }
  void TearDown() override {
    ::unlink(in("file").c_str());
    ::unlink(in("fifo").c_str());
    ::rmdir(folder_.c_str());
  }
  std::string in(const char* name) const { return folder_ + "/" + name; }
  std::string folder_;
};

std::string content(const InputFile& file) {
  std::ifstream stream(file.path(), std::ios::binary);
  std::stringstream text;
  text << stream.rdbuf();
  return text.str();
}

TEST_F(InputTest, a_file_is_opened_by_its_own_name) {
  std::ofstream(in("file")) << "abc";
  Result<InputFile> file = InputFile::open(in("file"));
  ASSERT_TRUE(file) << file.error().sentence;
  EXPECT_EQ(file->path(), in("file"));
  EXPECT_EQ(content(*file), "abc");
}

TEST_F(InputTest, a_fifo_that_nobody_writes_to_is_an_error_and_not_a_wait) {
  ASSERT_EQ(::mkfifo(in("fifo").c_str(), 0600), 0);
  Result<InputFile> file = InputFile::open(in("fifo"));
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().sentence, in("fifo") + ": is a pipe that nobody writes to");
  EXPECT_FALSE(read_input(in("fifo"), 100));
}

TEST_F(InputTest, a_pipe_whose_writer_is_slow_is_read_to_its_end_and_can_be_read_twice) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  std::string sent(300'000, 'x');  // more than a pipe holds
  std::thread writer([&] {
    for (std::size_t at = 0; at < sent.size(); at += 100'000) {
      ::usleep(20'000);
      EXPECT_EQ(::write(ends[1], sent.data() + at, 100'000), 100'000);
    }
    ::close(ends[1]);
  });
  Result<InputFile> file = InputFile::open(fmt::format("/proc/self/fd/{}", ends[0]));
  writer.join();
  ::close(ends[0]);
  ASSERT_TRUE(file) << file.error().sentence;
  EXPECT_EQ(content(*file), sent);
  EXPECT_EQ(content(*file), sent);
}

TEST_F(InputTest, a_pipe_that_does_not_end_is_cut_off) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  ASSERT_EQ(::write(ends[1], "0123456789", 10), 10);
  Result<InputFile> file = InputFile::open(fmt::format("/proc/self/fd/{}", ends[0]), 9);
  ::close(ends[0]);
  ::close(ends[1]);
  ASSERT_FALSE(file);
  EXPECT_NE(file.error().sentence.find("more than 9 bytes"), std::string::npos);
}

TEST_F(InputTest, a_folder_a_device_and_a_missing_name_are_told_apart) {
  EXPECT_NE(InputFile::open(folder_).error().sentence.find("is a directory"), std::string::npos);
  EXPECT_NE(InputFile::open("/dev/zero").error().sentence.find("neither a file nor a pipe"),
            std::string::npos);
  EXPECT_NE(InputFile::open(in("none")).error().sentence.find("No such file"), std::string::npos);
}

TEST_F(InputTest, a_text_that_is_longer_than_asked_for_comes_with_one_byte_more) {
  std::ofstream(in("file")) << "abcdef";
  EXPECT_EQ(*read_input(in("file"), 6), "abcdef");
  EXPECT_EQ(read_input(in("file"), 3)->size(), 4u);
}

}  // namespace
}  // namespace weir
