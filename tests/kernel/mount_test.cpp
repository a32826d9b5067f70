// File systems of other machines: the kernel's own sockets carry what a program writes there. The
// machine is the test's own: programs are attached to the root of its cgroups, because such sockets
// are in no other. In the emulator alone, which has the servers (qemu/servers).
#include <fcntl.h>
#include <net/if.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string_view>

#include "tests/kernel/kernel_test.h"

namespace weir::test {
namespace {

constexpr std::uint64_t kLimit = 300'007;
constexpr std::uint64_t kFile = 1 << 20;
constexpr const char *kServed = "/srv", *kMounted = "/tmp/weir-mounted";

struct Share {
  const char *name, *type, *source, *options, *server;
};
std::ostream& operator<<(std::ostream& out, const Share& share) {  // in the name of a test
  return out << share.name;
}

class Mount : public KernelTest, public testing::WithParamInterface<Share> {
 protected:
  void SetUp() override {
    if (!std::getenv("WEIR_KERNEL_SERVERS"))
      GTEST_SKIP() << "needs a machine of its own with servers: kernel.qemu_mounts_6_1 has them";
    KernelTest::SetUp();
    if (IsSkipped()) return;
    static const bool wired = wire_up();
    ASSERT_TRUE(wired);
    KernelOptions options;
    options.cgroup = *cgroup2_root();
    options.own_machine = true;
    k->load({limit_row(kLimit, 0, WEIR_PER_HOST)}, options, {});
    auto laid = k->part->set_floor(std::vector<Device>{{if_nametoindex("files0"), "files0", true}});
    ASSERT_TRUE(laid) << laid.error().sentence;
    free_for("10.76.0.1/32");  // what the servers say, which are on this machine too
    free_for("fd76::1/128");
    mkdir(kMounted, 0700);
  }
  // What waits goes on once nothing bounds it, so that nothing of this mount is left for the next.
  void TearDown() override {
    k.reset();
    if (writer_ > 0)
      await([&] { return waitpid(writer_, nullptr, WNOHANG) == writer_; }, within(10'000));
    umount2(kMounted, MNT_DETACH);
  }
  static bool wire_up() {
    const char* commands =
        "ip link add files0 type veth peer name files1 netns 1 && ip addr add 10.76.0.1/24 dev "
        "files0 && ip addr add fd76::1/64 dev files0 nodad && ip link set files0 up && nsenter "
        "--net=/proc/1/ns/net sh -c 'ip addr add 10.76.0.2/24 dev files1; ip addr add 10.76.0.3/24 "
        "dev files1; ip addr add fd76::2/64 "
        "dev files1 nodad; ip link set files1 up' && sleep 2";
    return std::system(commands) == 0;
  }
  void free_for(const char* range) {
    weir_prefix free{};
    free.final = 1;
    ASSERT_TRUE(k->part->put_prefix(*Prefix::parse(range), free));
  }
  bool mounted() const {
    const Share& s = GetParam();
    return mount(s.source, kMounted, s.type, 0, s.options) == 0;
  }
  // A file of that name, by a program of its own, which may hang where nothing goes on.
  bool is_written(const std::string& name) {
    writer_ = fork();
    if (writer_ == 0) {
      // It may hang for good: nobody may wait for the end of what it could print.
      const int null = open("/dev/null", O_RDWR);
      for (const int line : {STDOUT_FILENO, STDERR_FILENO}) dup2(null, line);
      const int fd = open((kMounted + ("/" + name)).c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
      const std::string part(1 << 14, 'w');
      for (std::uint64_t n = 0; n < kFile; n += part.size())
        if (write(fd, part.data(), part.size()) != static_cast<ssize_t>(part.size())) _exit(1);
      _exit(fsync(fd) == 0 && close(fd) == 0 ? 0 : 1);
    }
    int status = -1;
    const auto has_ended = [&] { return waitpid(writer_, &status, WNOHANG) == writer_; };
    if (!await(has_ended, within(3000))) return false;
    writer_ = -1;
    return status == 0;
  }
  // What was written of it: parts come in any order, so its size says nothing.
  static std::uint64_t arrived(const std::string& name) {
    struct stat file {};
    if (stat((kServed + ("/" + name)).c_str(), &file) != 0) return 0;
    return static_cast<std::uint64_t>(file.st_blocks) * 512;
  }

 private:
  pid_t writer_ = -1;
};

TEST_P(Mount, a_declared_server_takes_a_file_whole) {
  free_for(GetParam().server);
  ASSERT_TRUE(mounted()) << std::strerror(errno);
  const std::string name = std::string("whole-") + GetParam().name;
  EXPECT_TRUE(is_written(name));
  fmt::print("{} declared: limit {} charged {} received {}\n", GetParam().name, kLimit,
             k->charged(0), arrived(name));
  EXPECT_EQ(arrived(name), kFile);
  EXPECT_LE(k->charged(0), 20'000U) << "what this machine says elsewhere";
}

// A client of another file system may still hand on what it kept back: it is not charged here.
class SpentMount : public Mount {
 protected:
  void SetUp() override {
    Mount::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    for (const char* server : {"10.76.0.2/32", "10.76.0.3/32"})
      if (std::string_view(server) != GetParam().server) free_for(server);
  }
};

TEST_P(SpentMount, an_undeclared_one_gets_no_more_than_the_account) {
  ASSERT_TRUE(mounted()) << std::strerror(errno);
  const std::string name = std::string("part-") + GetParam().name;
  EXPECT_FALSE(is_written(name));
  fmt::print("{} undeclared: limit {} charged {} received {}\n", GetParam().name, kLimit,
             k->charged(0), arrived(name));
  EXPECT_LE(arrived(name), k->charged(0));
  EXPECT_LE(k->charged(0), kLimit);
  EXPECT_GE(k->charged(0), kLimit / 3) << "it did send";
}

constexpr Share kNfs{"nfs", "nfs4", "10.76.0.2:/",
                     "vers=4.2,proto=tcp,soft,wsize=16384,timeo=20,retrans=1,sec=sys,"
                     "addr=10.76.0.2,clientaddr=10.76.0.1",
                     "10.76.0.2/32"};
constexpr Share kNfs6{"nfs6", "nfs4", "[fd76::2]:/",
                      "vers=4.2,proto=tcp6,soft,wsize=16384,timeo=20,retrans=1,sec=sys,"
                      "addr=fd76::2,clientaddr=fd76::1",
                      "fd76::2/128"};
// The cache of the client hands on what is asked to be on the disk, in parts of that size.
constexpr Share kSmb{"smb", "cifs", "//files/srv",
                     "vers=3.0,sec=none,soft,wsize=16384,echo_interval=5,ip=10.76.0.3",
                     "10.76.0.3/32"};
constexpr Share kSmb6{"smb6", "cifs", "//files/srv",
                      "vers=3.0,sec=none,soft,wsize=16384,echo_interval=5,ip=fd76::2",
                      "fd76::2/128"};
std::string name_of(const testing::TestParamInfo<Share>& info) {
  return info.param.name;
}
INSTANTIATE_TEST_SUITE_P(Kernel, Mount, testing::Values(kNfs, kNfs6, kSmb, kSmb6), name_of);
// By one address each: a client of NFS that knows the server by one address asks by it before it
// takes another.
INSTANTIATE_TEST_SUITE_P(Kernel, SpentMount, testing::Values(kNfs, kSmb), name_of);

}  // namespace
}  // namespace weir::test
