// The seal of an engine that keeps a spool, tried from inside: it reaches that one folder and
// nothing else.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <thread>

#include "agent/engine/seal.h"
#include "agent/engine/spooler.h"
#include "agent/guard/descriptors.h"
#include "tests/agent/sealed.h"

namespace weir {
namespace {

namespace fs = std::filesystem;

class SpoolSeal : public SealedFolderTest {
 protected:
  void SetUp() override {
    SealedFolderTest::SetUp();
    if (IsSkipped()) return;
    spool_ = base_ / "spool";
    fs::create_directory(spool_);
    std::ofstream(base_ / "state") << "reports";
    std::ofstream(spool_ / "plain") << "plain";
    fs::create_symlink("/etc/passwd", spool_ / "link");
    fs::create_symlink("/etc", spool_ / "folder_link");
    fs::create_symlink(base_ / "state", spool_ / "state_link");
    fs::permissions(base_ / "state", fs::perms::all);
    ASSERT_EQ(::chown(spool_.c_str(), kEngineUser, kEngineUser), 0);
    ASSERT_EQ(::chown((spool_ / "plain").c_str(), kEngineUser, kEngineUser), 0);
  }

  int tried(const std::function<long()>& attempt) {
    return tried_behind(
        [this] {
          ::dup2(::open(spool_.c_str(), O_RDONLY | O_DIRECTORY), fds::kSpool);
          ::dup2(::open((base_ / "state").c_str(), O_RDWR), fds::kReports);
          ::dup2(::open(base_.c_str(), O_RDONLY | O_DIRECTORY), fds::kUtmp);
          if (!may_chroot_) drop_chroot();
          return take_low_descriptors() && seal_engine(kEngineUser, SpoolAccess::folder);
        },
        attempt);
  }
  static void drop_chroot() {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct data[2] = {};
    if (::syscall(SYS_capget, &header, data) != 0) ::_exit(kDied);
    data[0].effective &= ~(1u << CAP_SYS_CHROOT);
    data[0].permitted &= ~(1u << CAP_SYS_CHROOT);
    if (::syscall(SYS_capset, &header, data) != 0) ::_exit(kDied);
  }
  static long open_at(int folder, const char* path, int flags) {
    return ::syscall(SYS_openat, folder, path, flags, 0600);
  }

  fs::path spool_;
  bool may_chroot_ = true;
};

constexpr int kRead = O_RDONLY | O_NOFOLLOW, kMake = O_WRONLY | O_CREAT | O_NOFOLLOW;

TEST_F(SpoolSeal, files_of_the_folder_are_made_written_renamed_and_removed) {
  EXPECT_EQ(tried([] {
              long fd = open_at(fds::kSpool, "new", O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW);
              if (fd < kFirstOpened) return -1L;
              int file = static_cast<int>(fd);
              if (::pwrite(file, "x", 1, 0) != 1 || ::ftruncate(file, 0) != 0 ||
                  ::fallocate(file, FALLOC_FL_KEEP_SIZE, 0, 4096) != 0 || ::fsync(file) != 0 ||
                  ::fdatasync(file) != 0 || ::fsync(fds::kSpool) != 0)
                return -1L;
              if (::renameat(fds::kSpool, "new", fds::kSpool, "newer") != 0) return -1L;
              return static_cast<long>(::unlinkat(fds::kSpool, "newer", 0));
            }),
            0);
}

TEST_F(SpoolSeal, a_spool_is_kept_by_a_thread_behind_it) {
  EXPECT_EQ(tried([] {
              Spooler spooler({fds::kSpool, -1, -1}, SpoolLimits{}, 1'700'000'000'000'000'000);
              for (int n = 0; n < 100; ++n) spooler.offer(SpoolLane::alert, "alert");
              return 0L;
            }),
            0);
  int folder = ::open(spool_.c_str(), O_RDONLY | O_DIRECTORY);
  auto reader = SpoolReader::open(folder);
  ASSERT_TRUE(reader);
  auto piece = reader->read(SpoolLane::alert, 0, 1000, 1 << 20);
  ASSERT_TRUE(piece);
  EXPECT_EQ(piece->records.size(), 100u);
  ::close(folder);
}

TEST_F(SpoolSeal, no_path_leads_out_of_the_folder) {
  EXPECT_EQ(tried([] { return open_at(fds::kSpool, "/etc/passwd", kRead); }), ENOENT);
  EXPECT_EQ(tried([] { return open_at(fds::kSpool, "../state", kRead); }), ENOENT);
  EXPECT_EQ(tried([] { return open_at(fds::kSpool, "../../../../etc/passwd", kRead); }), ENOENT);
  (void)tried([] { return open_at(fds::kSpool, "../made", kMake); });
  (void)tried([this] { return open_at(fds::kSpool, (base_ / "made").c_str(), kMake); });
  EXPECT_FALSE(fs::exists(base_ / "made"));
  EXPECT_EQ(tried([] { return open_at(AT_FDCWD, "plain", kRead); }), EPERM);
  EXPECT_EQ(tried([] { return open_at(fds::kUtmp, "state", kRead); }), EPERM);
  EXPECT_EQ(tried([] { return ::syscall(SYS_open, "/etc/passwd", O_RDONLY); }), EPERM);
}

// Without the right to chroot Landlock alone keeps it in.
TEST_F(SpoolSeal, without_a_root_of_its_own_landlock_keeps_it_in) {
  may_chroot_ = false;
  if (tried([] { return 0L; }) == kSealFailed) GTEST_SKIP() << "this kernel has no Landlock";
  EXPECT_EQ(tried([] { return open_at(fds::kSpool, "plain", kRead); }), 0);
  EXPECT_EQ(tried([] { return open_at(fds::kSpool, "/etc/passwd", kRead); }), EACCES);
  EXPECT_EQ(tried([] { return open_at(fds::kSpool, "../state", kRead); }), EACCES);
  EXPECT_EQ(tried([] { return open_at(fds::kSpool, "../made", kMake); }), EACCES);
  EXPECT_EQ(tried([] { return open_at(fds::kSpool, "folder_link/passwd", kRead); }), EACCES);
  EXPECT_FALSE(fs::exists(base_ / "made"));
}

TEST_F(SpoolSeal, no_symbolic_link_is_followed_out) {
  EXPECT_EQ(tried([] { return open_at(fds::kSpool, "plain", kRead); }), 0);
  EXPECT_EQ(tried([] { return open_at(fds::kSpool, "plain", O_RDONLY); }), EPERM);
  for (const char* link : {"link", "state_link"})
    EXPECT_EQ(tried([&] { return open_at(fds::kSpool, link, kRead); }), ELOOP) << link;
  EXPECT_EQ(tried([] { return open_at(fds::kSpool, "folder_link/passwd", kRead); }), ENOENT);
  EXPECT_EQ(tried([] { return ::syscall(SYS_symlinkat, "/etc", fds::kSpool, "another"); }), EPERM);
}

TEST_F(SpoolSeal, what_was_handed_down_is_not_rewritten) {
  EXPECT_EQ(tried([] { return ::syscall(SYS_pwrite64, fds::kReports, "x", 1, 0); }), EPERM);
  EXPECT_EQ(tried([] { return ::syscall(SYS_ftruncate, fds::kReports, 0); }), EPERM);
  // The upper half of a register is no way around it.
  EXPECT_EQ(tried([] { return ::syscall(SYS_ftruncate, 1L << 40 | fds::kReports, 0); }), EPERM);
  EXPECT_EQ(fs::file_size(base_ / "state"), 7u);
  EXPECT_EQ(tried([] { return ::syscall(SYS_fcntl, fds::kReports, F_DUPFD, 64); }), EPERM);
  EXPECT_EQ(tried([] { return ::syscall(SYS_dup2, fds::kReports, 64); }), EPERM);
}

TEST_F(SpoolSeal, folders_nodes_and_links_are_not_made) {
  EXPECT_EQ(tried([] { return ::syscall(SYS_mkdirat, fds::kSpool, "folder", 0700); }), EPERM);
  EXPECT_EQ(tried([] { return ::syscall(SYS_mknodat, fds::kSpool, "fifo", S_IFIFO | 0600, 0); }),
            EPERM);
  EXPECT_EQ(
      tried([] { return ::syscall(SYS_linkat, fds::kSpool, "plain", fds::kSpool, "hard", 0); }),
      EPERM);
  EXPECT_EQ(
      tried([] { return ::syscall(SYS_renameat, fds::kSpool, "plain", AT_FDCWD, "elsewhere"); }),
      EPERM);
  EXPECT_EQ(tried([] { return ::syscall(SYS_fchmodat, fds::kSpool, "plain", 0777); }), EPERM);
  EXPECT_EQ(tried([] { return ::syscall(SYS_chroot, "."); }), EPERM);
}

TEST_F(SpoolSeal, threads_are_started_and_processes_and_programs_are_not) {
  EXPECT_EQ(tried([] {
              std::atomic<int> ran = 0;
              std::thread([&] { ran = 1; }).join();
              return ran == 1 ? 0L : -1L;
            }),
            0);
  EXPECT_EQ(tried([] { return ::syscall(SYS_fork); }), EPERM);
  EXPECT_EQ(tried([] { return ::syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0); }), EPERM);
  EXPECT_EQ(tried([] { return ::syscall(SYS_clone, CLONE_VM | SIGCHLD, 0, 0, 0, 0); }), EPERM);
  EXPECT_EQ(tried([] { return ::syscall(SYS_clone3, nullptr, 0); }), ENOSYS);
  EXPECT_EQ(tried([] {
              const char* arguments[] = {"plain", nullptr};
              return ::syscall(SYS_execveat, fds::kSpool, "plain", arguments, nullptr, 0);
            }),
            EPERM);
  EXPECT_EQ(tried([] { return ::syscall(SYS_socket, AF_INET, SOCK_STREAM, 0); }), EPERM);
  EXPECT_EQ(tried([] { return ::syscall(SYS_bpf, 0, nullptr, 0); }), EPERM);
}

}  // namespace
}  // namespace weir
