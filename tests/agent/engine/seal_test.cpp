// The seal, tried from inside: what a sealed engine can't do any more. The shipped engine has no
// such mode; this binary links the same function.
#include "agent/engine/seal.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/bpf.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <string>

#include "tests/agent/sealed.h"

namespace weir {
namespace {

struct Before {  // what the process holds when it is sealed
  int tcp = -1;
  int map = -1;
};

long bpf(int command, bpf_attr& attr) {
  return ::syscall(SYS_bpf, command, &attr, sizeof attr);
}

Before prepare() {
  Before held;
  held.tcp = ::socket(AF_INET, SOCK_STREAM, 0);
  bpf_attr attr{};
  attr.map_type = BPF_MAP_TYPE_ARRAY;
  attr.key_size = attr.value_size = 4;
  attr.max_entries = 1;
  held.map = static_cast<int>(bpf(BPF_MAP_CREATE, attr));
  return held;
}

long update(int map) {
  std::uint32_t key = 0, value = 7;
  bpf_attr attr{};
  attr.map_fd = static_cast<std::uint32_t>(map);
  attr.key = reinterpret_cast<std::uintptr_t>(&key);
  attr.value = reinterpret_cast<std::uintptr_t>(&value);
  return bpf(BPF_MAP_UPDATE_ELEM, attr);
}

long connect_to_loopback(int fd) {
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(9);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return ::syscall(SYS_connect, fd, &to, sizeof to);
}

constexpr int kRefused = EPERM;

int tried(const std::function<long(const Before&)>& attempt) {
  Before held;
  return tried_behind(
      [&held] {
        held = prepare();
        return seal_engine().has_value();
      },
      [&] { return attempt(held); });
}

class Seal : public SealTest {};

TEST_F(Seal, the_tries_themselves_succeed_before_it) {
  Before held = prepare();
  EXPECT_GE(held.tcp, 0);
  if (held.map >= 0) EXPECT_EQ(update(held.map), 0);
  long fd = ::syscall(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY);
  EXPECT_GE(fd, 0);
  ::close(static_cast<int>(fd));
  ::close(held.tcp);
  ::close(held.map);
}

TEST_F(Seal, a_sealed_engine_opens_nothing) {
  EXPECT_EQ(
      tried([](const Before&) { return ::syscall(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY); }),
      kRefused);
  EXPECT_EQ(tried([](const Before&) { return ::syscall(SYS_open, "/tmp/x", O_CREAT, 0600); }),
            kRefused);
}

TEST_F(Seal, a_sealed_engine_makes_no_socket_and_connects_none) {
  EXPECT_EQ(tried([](const Before&) { return ::syscall(SYS_socket, AF_INET, SOCK_STREAM, 0); }),
            kRefused);
  EXPECT_EQ(tried([](const Before&) { return ::syscall(SYS_socket, AF_UNIX, SOCK_STREAM, 0); }),
            kRefused);
  EXPECT_EQ(tried([](const Before& held) { return connect_to_loopback(held.tcp); }), kRefused);
}

TEST_F(Seal, a_sealed_engine_sends_only_to_the_guard) {
  EXPECT_EQ(tried([](const Before& held) {
              return ::syscall(SYS_sendto, held.tcp + 32, "x", 1, 0, nullptr, 0);
            }),
            kRefused);
}

TEST_F(Seal, a_sealed_engine_runs_nothing_and_forks_nothing) {
  EXPECT_EQ(tried([](const Before&) {
              const char* arguments[] = {"/bin/true", nullptr};
              return ::syscall(SYS_execve, arguments[0], arguments, nullptr);
            }),
            kRefused);
  EXPECT_EQ(tried([](const Before&) { return ::syscall(SYS_fork); }), kRefused);
}

TEST_F(Seal, a_sealed_engine_writes_no_map_even_with_its_descriptor) {
  EXPECT_EQ(tried([](const Before& held) { return update(held.map); }), kRefused);
}

TEST_F(Seal, a_sealed_engine_makes_no_memory_executable) {
  EXPECT_EQ(tried([](const Before&) {
              return ::syscall(SYS_mmap, nullptr, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                               MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            }),
            kRefused);
}

TEST_F(Seal, a_sealed_engine_is_nobody_else_and_root_does_not_come_back) {
  EXPECT_EQ(tried([](const Before&) { return ::syscall(SYS_setuid, 0); }), kRefused);
  EXPECT_EQ(tried([](const Before&) { return ::syscall(SYS_ptrace, PTRACE_ATTACH, 1, 0, 0); }),
            kRefused);
}

TEST_F(Seal, root_is_no_user_to_become) {
  pid_t child = ::fork();
  if (child == 0) ::_exit(seal_engine(0) ? 1 : 0);
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

}  // namespace
}  // namespace weir
