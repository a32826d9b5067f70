// Small files: whole, private, and never through a link that somebody laid there.
#include "platform/files/small_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "platform/files/fd.h"

namespace weir {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMost = 64;

class SmallFile : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "weir-files-XXXXXX").string();
    base_ = ::mkdtemp(pattern.data());
    folder_ = Fd(::open(base_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  }
  void TearDown() override { fs::remove_all(base_); }
  void put(const char* name, const std::string& text) { std::ofstream(base_ / name) << text; }
  std::optional<std::string> get(const char* name) {
    auto text = read_small_file(folder_.get(), name, kMost);
    return text ? *text : std::nullopt;
  }

  fs::path base_;
  Fd folder_;
};

TEST_F(SmallFile, what_is_made_is_the_owners_alone) {
  ASSERT_TRUE(create_file(folder_.get(), "key", "secret"));
  EXPECT_EQ(get("key"), "secret");
  struct stat info {};
  ASSERT_EQ(::stat((base_ / "key").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0600u);
}

TEST_F(SmallFile, what_is_there_is_not_made_again) {
  put("key", "first");
  EXPECT_FALSE(create_file(folder_.get(), "key", "second"));
  EXPECT_EQ(get("key"), "first");
}

TEST_F(SmallFile, a_file_is_replaced_as_a_whole_and_nothing_stays_beside_it) {
  put("key", "a longer text");
  put("key.new", "left by one that was killed");
  ASSERT_TRUE(replace_file(folder_.get(), "key", "short"));
  EXPECT_EQ(get("key"), "short");
  EXPECT_FALSE(fs::exists(base_ / "key.new"));
}

TEST_F(SmallFile, a_link_is_replaced_and_not_written_through) {
  put("elsewhere", "kept");
  fs::create_symlink(base_ / "elsewhere", base_ / "key");
  fs::create_symlink(base_ / "elsewhere", base_ / "key.new");
  ASSERT_TRUE(replace_file(folder_.get(), "key", "text"));
  EXPECT_EQ(get("elsewhere"), "kept");
  EXPECT_FALSE(fs::is_symlink(base_ / "key"));
}

TEST_F(SmallFile, a_link_is_read_only_where_that_is_wanted) {
  put("elsewhere", "text");
  fs::create_symlink(base_ / "elsewhere", base_ / "key");
  EXPECT_FALSE(read_small_file(folder_.get(), "key", kMost));
  auto followed = read_small_file(folder_.get(), "key", kMost, LastLink::followed);
  ASSERT_TRUE(followed);
  EXPECT_EQ(*followed, "text");
}

TEST_F(SmallFile, no_file_is_nothing_and_a_large_one_is_an_error) {
  auto none = read_small_file(folder_.get(), "none", kMost);
  ASSERT_TRUE(none);
  EXPECT_FALSE(*none);
  put("full", std::string(kMost, 'x'));
  EXPECT_EQ(get("full"), std::string(kMost, 'x'));
  put("large", std::string(kMost + 1, 'x'));
  auto large = read_small_file(folder_.get(), "large", kMost);
  ASSERT_FALSE(large);
  EXPECT_EQ(large.error().sentence, "large: larger than 64 bytes");
}

TEST_F(SmallFile, a_whole_path_needs_no_folder) {
  const std::string path = base_ / "key";
  ASSERT_TRUE(replace_file(AT_FDCWD, path, "text"));
  EXPECT_EQ(get("key"), "text");
}

}  // namespace
}  // namespace weir
