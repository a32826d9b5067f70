// The seal of the uplink, tried from inside: two folders, the name service's files, streams and
// datagrams of IP, and nothing else.
#include "agent/uplink/seal.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/bpf.h>
#include <netdb.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <thread>

#include "tests/agent/sealed.h"

namespace weir {
namespace {

namespace fs = std::filesystem;

class UplinkSeal : public SealedFolderTest {
 protected:
  void SetUp() override {
    SealedFolderTest::SetUp();
    if (IsSkipped()) return;
    for (const char* name : {"spool", "identity", "other"}) {
      fs::create_directory(base_ / name);
      fs::permissions(base_ / name, fs::perms::all);
      std::ofstream(base_ / name / "file") << "bytes";
      fs::permissions(base_ / name / "file", fs::perms::all);
    }
    fs::create_symlink(base_ / "other" / "file", base_ / "identity" / "link");
    spool_ = ::open((base_ / "spool").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    identity_ = ::open((base_ / "identity").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  }

  int tried(const std::function<long()>& attempt) {
    return tried_behind([this] { return seal_uplink(spool_, identity_).has_value(); }, attempt);
  }
  long open_path(const char* path, int flags = O_RDONLY) const {
    return ::openat(AT_FDCWD, path, flags | O_CLOEXEC, 0600);
  }

  int spool_ = -1, identity_ = -1;
};

TEST_F(UplinkSeal, the_spool_is_read_and_not_written) {
  EXPECT_EQ(tried([&] { return ::openat(spool_, "file", O_RDONLY); }), 0);
  EXPECT_NE(tried([&] { return ::openat(spool_, "file", O_RDWR); }), 0);
  EXPECT_NE(tried([&] { return ::openat(spool_, "new", O_WRONLY | O_CREAT, 0600); }), 0);
  EXPECT_NE(tried([&] { return ::unlinkat(spool_, "file", 0); }), 0);
}

TEST_F(UplinkSeal, files_of_the_identity_are_made_and_replaced) {
  EXPECT_EQ(tried([&] {
              int fd = ::openat(identity_, "new", O_WRONLY | O_CREAT | O_EXCL, 0600);
              if (fd < 0 || ::write(fd, "x", 1) != 1 || ::fsync(fd) != 0) return -1;
              return ::renameat(identity_, "new", identity_, "file");
            }),
            0);
}

TEST_F(UplinkSeal, no_other_path_is_opened) {
  const std::string other = base_ / "other" / "file";
  EXPECT_EQ(tried([&] { return open_path(other.c_str()); }), EACCES);
  EXPECT_EQ(tried([&] { return ::openat(identity_, "link", O_RDONLY); }), EACCES);
  EXPECT_EQ(tried([&] { return ::openat(identity_, "../other/file", O_RDONLY); }), EACCES);
  for (const char* path : {"/etc/passwd", "/etc/shadow", "/proc/self/mem", "/dev/null", "/"})
    EXPECT_EQ(tried([&] { return open_path(path); }), EACCES) << path;
  EXPECT_NE(tried([&] { return open_path("/tmp/made-by-uplink", O_WRONLY | O_CREAT); }), 0);
}

TEST_F(UplinkSeal, names_can_still_be_looked_up) {
  EXPECT_EQ(tried([] {
              addrinfo* found = nullptr;
              return ::getaddrinfo("localhost", "1", nullptr, &found) == 0 ? 0 : -1;
            }),
            0);
  if (::access("/etc/resolv.conf", R_OK) == 0)
    EXPECT_EQ(tried([&] { return open_path("/etc/resolv.conf"); }), 0);
}

TEST_F(UplinkSeal, only_streams_and_datagrams_of_ip_are_opened) {
  EXPECT_EQ(tried([] { return ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0); }), 0);
  EXPECT_EQ(tried([] { return ::socket(AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK, IPPROTO_UDP); }), 0);
  EXPECT_EQ(tried([] { return ::socket(AF_UNIX, SOCK_STREAM, 0); }), EPERM);
  EXPECT_EQ(tried([] {
              int pair[2];
              return ::socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
            }),
            EPERM);
  EXPECT_EQ(tried([] { return ::socket(AF_PACKET, SOCK_RAW, 0); }), EPERM);
  EXPECT_EQ(tried([] { return ::socket(AF_INET, SOCK_RAW, IPPROTO_ICMP); }), EPERM);
  EXPECT_EQ(tried([] { return ::socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP); }), EPERM);
  EXPECT_EQ(tried([] { return ::socket(AF_VSOCK, SOCK_STREAM, 0); }), EPERM);
  EXPECT_EQ(tried([] { return ::socket(AF_ALG, SOCK_SEQPACKET, 0); }), EPERM);
  EXPECT_EQ(tried([] { return ::listen(::socket(AF_INET, SOCK_STREAM, 0), 1); }), EPERM);
}

TEST_F(UplinkSeal, nothing_is_run_traced_mounted_or_loaded) {
  EXPECT_EQ(tried([] { return ::execl("/bin/true", "true", nullptr); }), EPERM);
  EXPECT_EQ(tried([] { return ::fork(); }), EPERM);
  EXPECT_EQ(tried([] { return ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr); }), EPERM);
  EXPECT_EQ(tried([] { return ::mount("none", "/mnt", "tmpfs", 0, nullptr); }), EPERM);
  EXPECT_EQ(tried([] { return ::unshare(CLONE_NEWUSER); }), EPERM);
  EXPECT_EQ(tried([] { return ::syscall(SYS_bpf, BPF_MAP_CREATE, nullptr, 0); }), EPERM);
  EXPECT_EQ(tried([] { return ::syscall(SYS_io_uring_setup, 1, nullptr); }), EPERM);
  EXPECT_EQ(tried([] { return ::kill(1, 0); }), EPERM);
  EXPECT_EQ(tried([] { return ::setuid(0); }), EPERM);
}

TEST_F(UplinkSeal, it_is_another_user_without_core_files_and_starts_threads) {
  EXPECT_EQ(tried([] { return ::getuid() == kUplinkUser && ::getgid() == kUplinkUser ? 0 : -1; }),
            0);
  EXPECT_EQ(tried([] {
              int done = 0;
              std::thread([&] { done = 1; }).join();
              return done == 1 ? 0 : -1;
            }),
            0);
}

}  // namespace
}  // namespace weir
