// What the disk is owed, and when it is owed no longer.
#include "agent/guard/commands.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>

#include "agent/guard/descriptors.h"
#include "platform/files/fd.h"
#include "platform/files/passing.h"

namespace weir {
namespace {

// The other end of the line is ours: what `weir run` would be asked.
class Owed : public testing::Test {
 protected:
  void SetUp() override {
    int pair[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    keeper_ = Fd(pair[0]);
    before_ = Fd(::dup(fds::kKeep));
    ASSERT_EQ(::dup2(pair[1], fds::kKeep), fds::kKeep);
    if (pair[1] != fds::kKeep) ::close(pair[1]);
  }
  void TearDown() override {
    if (before_)
      ::dup2(before_.get(), fds::kKeep);
    else
      ::close(fds::kKeep);
  }
  // What the disk is to say, if something was asked: how many places of blocked names.
  std::optional<std::uint32_t> asked() {
    Fd memory;
    if (receive_with(keeper_.get(), &request_, sizeof request_, memory) != sizeof request_)
      return std::nullopt;
    EXPECT_EQ(request_.what, KeptFile::exceptions);
    std::vector<std::uint8_t> bytes(request_.size);
    EXPECT_EQ(::pread(memory.get(), bytes.data(), bytes.size(), 0),
              static_cast<ssize_t>(bytes.size()));
    auto table = ExceptionTable::read(bytes);
    return table ? std::optional(table->places.count) : std::nullopt;
  }
  void answer(bool kept) {
    const KeepAnswer said{request_.number, kept ? 1u : 0u, 0};
    EXPECT_EQ(::send(keeper_.get(), &said, sizeof said, 0), static_cast<ssize_t>(sizeof said));
    EXPECT_FALSE(commands_.kept(
        2, [](const ExceptionTable&) { return Result<void>{}; }, *table_));
  }
  void see(std::uint8_t address) {
    table_->places.add({7, {address}, 1'000});
    commands_.owe_table();
  }

  Fd keeper_, before_;
  KeepRequest request_;
  std::unique_ptr<ExceptionTable> table_ = std::make_unique<ExceptionTable>(ExceptionTable::none());
  Commands commands_{DoneCommands{}, 1};
};

TEST_F(Owed, nothing_is_asked_unless_something_is_owed) {
  commands_.settle(*table_, 1);
  EXPECT_FALSE(asked());
  see(1);
  commands_.settle(*table_, 1);
  EXPECT_EQ(asked(), 1u);
  answer(true);
  commands_.settle(*table_, 3);
  EXPECT_FALSE(asked()) << "the disk has it";
}

TEST_F(Owed, what_is_seen_while_the_disk_writes_is_written_after_that) {
  see(1);
  commands_.settle(*table_, 1);
  EXPECT_EQ(asked(), 1u);
  see(2);
  commands_.settle(*table_, 1);
  EXPECT_FALSE(asked()) << "one at a time";
  answer(true);
  commands_.settle(*table_, 3);
  EXPECT_EQ(asked(), 2u);
}

TEST_F(Owed, what_the_disk_did_not_take_is_asked_again) {
  see(1);
  commands_.settle(*table_, 1);
  EXPECT_EQ(asked(), 1u);
  answer(false);
  commands_.settle(*table_, 3);
  EXPECT_EQ(asked(), 1u);
}

}  // namespace
}  // namespace weir
