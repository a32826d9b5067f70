// Devices that come and go under a running agent: what a packet socket writes to one that is new is
// bounded as everywhere, and three hundred of them leave nothing behind.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include <array>
#include <atomic>

#include "platform/files/fd.h"
#include "tests/e2e/desk/guarded_desk.h"

namespace weir {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr std::uint64_t kLimit = 256 << 10;
constexpr std::size_t kFrame = 1000;
constexpr char kDevice[] = "come0", kPeer[] = "come1";

// Frames of both families by a packet socket of a watched cgroup, to a place that nobody knows, one
// a moment, whatever device has that name just then. A process of its own.
class Frames {
 public:
  explicit Frames(const std::string& cgroup)
      : sent_(static_cast<std::atomic<std::uint64_t>*>(::mmap(
            nullptr, sizeof *sent_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0))) {
    pid_ = ::fork();
    if (pid_ != 0) return;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    const Fd procs(::open((cgroup + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC));
    if (::write(procs.get(), "0", 1) != 1) ::_exit(1);
    go_on();
  }
  Frames(const Frames&) = delete;
  Frames& operator=(const Frames&) = delete;
  ~Frames() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    ::munmap(sent_, sizeof *sent_);
  }
  std::uint64_t sent() const { return *sent_; }

 private:
  static std::array<std::uint8_t, kFrame> frame(bool six) {
    std::array<std::uint8_t, kFrame> bytes{0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2};
    const std::size_t payload = kFrame - ETH_HLEN;
    std::uint8_t* ip = bytes.data() + ETH_HLEN;
    if (six) {
      bytes[12] = 0x86, bytes[13] = 0xdd;
      ip[0] = 0x60;
      ip[4] = static_cast<std::uint8_t>((payload - 40) >> 8);
      ip[5] = static_cast<std::uint8_t>(payload - 40);
      ip[6] = 253;  // an experiment's (RFC 3692)
      ip[7] = 64;
      ::inet_pton(AF_INET6, "2001:db8::1", ip + 8);
      ::inet_pton(AF_INET6, "2001:db8:1::9", ip + 24);
      return bytes;
    }
    bytes[12] = 0x08;
    ip[0] = 0x45;
    ip[2] = static_cast<std::uint8_t>(payload >> 8);
    ip[3] = static_cast<std::uint8_t>(payload);
    ip[8] = 64;
    ip[9] = 253;
    ::inet_pton(AF_INET, "192.0.2.1", ip + 12);
    ::inet_pton(AF_INET, "203.0.113.9", ip + 16);
    return bytes;
  }
  [[noreturn]] void go_on() {
    const Fd line(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
    const std::array<std::array<std::uint8_t, kFrame>, 2> frames = {frame(false), frame(true)};
    for (std::size_t n = 0;; ++n) {
      sockaddr_ll to{};
      to.sll_family = AF_PACKET;
      to.sll_ifindex = static_cast<int>(::if_nametoindex(kDevice));
      to.sll_protocol = htons(n % 2 != 0 ? ETH_P_IPV6 : ETH_P_IP);
      if (::sendto(line.get(), frames[n % 2].data(), kFrame, MSG_DONTWAIT,
                   reinterpret_cast<const sockaddr*>(&to), sizeof to) > 0)
        ++*sent_;
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
  }

  std::atomic<std::uint64_t>* sent_;
  pid_t pid_ = -1;
};

class Devices : public GuardedDesk {
 protected:
  void SetUp() override {
    WEIR_NEEDS_KERNEL();
    desk_.emplace();
    GuardedHost::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    fs::remove(cgroup_);
    cgroup_ = desk_->cgroup();
    interface_ = "desk0";
    other_interface_ = kDevice;
    ip({add()});
    start();
    ASSERT_EQ(next_state(), "4 0  0") << errors();
    ip({"link del " + std::string(kDevice)});
    offer({.number = 1,
           .then = "{limit: {bytes: 256KiB, per: person}}",
           .when = "{any: [{trust: unknown}, {trust: undeclared_udp}]}"});
    ASSERT_EQ(next_state(), "1 1  0") << errors();
  }
  void TearDown() override {
    if (!base_.empty() && ::if_nametoindex(kDevice) != 0) ip({"link del " + std::string(kDevice)});
    GuardedDesk::TearDown();
  }

  static std::string add() {
    return fmt::format("link add {0} type veth peer name {1}\nlink set {1} up\nlink set {0} up",
                       kDevice, kPeer);
  }
  void ip(const std::vector<std::string>& commands) const {
    std::ofstream batch(base_ / "batch");
    for (const std::string& command : commands) batch << command << '\n';
    batch.close();
    ASSERT_EQ(std::system(("ip -batch " + (base_ / "batch").string()).c_str()), 0);
  }
  // At the other end, in bytes; by the device's own count.
  static std::uint64_t arrived() {
    std::ifstream devices("/proc/thread-self/net/dev");
    for (std::string line; std::getline(devices, line);) {
      std::stringstream words(line);
      std::string name;
      std::uint64_t bytes = 0;
      if (words >> name >> bytes && name == std::string(kPeer) + ":") return bytes;
    }
    return 0;
  }
  std::uint64_t at_the_floor(weir_counter what) {  // frames
    Result<PinnedTables> tables = read_pinned((base_ / "bpf").string());
    return tables ? tables->counters[what] : 0;
  }
  std::uint64_t charged() { return at_the_floor(WEIR_COUNT_FLOOR_CHARGED) * kFrame; }
  // Until nothing more arrives although frames are sent; how long that took. The kernel's own
  // multicast words may still come.
  std::optional<milliseconds> stands_still() {
    const auto since = Clock::now();
    while (Clock::now() - since < kPatience) {
      const std::uint64_t had = arrived(), refused = at_the_floor(WEIR_COUNT_FLOOR_REFUSED);
      const auto began = Clock::now();
      await([&] {
        return Clock::now() - began > milliseconds(700) &&
               at_the_floor(WEIR_COUNT_FLOOR_REFUSED) > refused;
      });
      if (arrived() - had < kFrame) return std::chrono::duration_cast<milliseconds>(began - since);
    }
    return std::nullopt;
  }
  std::string seen(const Frames& frames) {
    return fmt::format("{} frames sent, {} bytes arrived, {} charged, {} frames refused",
                       frames.sent(), arrived(), charged(), at_the_floor(WEIR_COUNT_FLOOR_REFUSED));
  }
  std::size_t floors() const {
    std::size_t count = 0;
    const fs::path links = base_ / "bpf/weir" / std::to_string(WEIR_LAYOUT) / "links";
    for (const auto& pin : fs::directory_iterator(links))
      count += pin.path().filename().string().starts_with("floor_") ? 1 : 0;
    return count;
  }
  fs::path floor_of(const char* name) const {
    return base_ / "bpf/weir" / std::to_string(WEIR_LAYOUT) / "links" /
           fmt::format("floor_{}", ::if_nametoindex(name));
  }
  std::size_t descriptors() {
    const fs::path all = fmt::format("/proc/{}/fd", guard());
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(all), {}));
  }
};

TEST_F(Devices, one_that_is_new_is_bounded_while_frames_are_sent_by_it) {
  const Frames frames(desk_->place("a"));
  ip({add()});
  ASSERT_TRUE(await([&] { return charged() > kLimit - 2 * kFrame; })) << seen(frames);
  const std::optional<milliseconds> after = stands_still();
  ASSERT_TRUE(after) << arrived() << " bytes arrived";
  EXPECT_LE(charged(), kLimit);
  EXPECT_GE(arrived(), charged()) << seen(frames);
  fmt::print("{} bytes charged, {} arrived; stood still {} ms after that\n", charged(), arrived(),
             after->count());
}

TEST_F(Devices, three_hundred_that_come_and_go_leave_nothing_behind) {
  constexpr int kTimes = 300;
  const Frames frames(desk_->place("a"));
  ip({add()});
  ASSERT_TRUE(await([&] { return charged() > kLimit - 2 * kFrame; })) << seen(frames);
  ASSERT_TRUE(stands_still());
  const bool pinned = fs::exists(floor_of(kDevice));  // tcx
  const std::size_t had = descriptors(), laid = floors();
  const pid_t before = guard();
  std::vector<std::string> commands;
  for (int n = 0; n < kTimes; ++n)
    commands.insert(commands.end(), {"link del " + std::string(kDevice), add()});
  const std::uint64_t refused = at_the_floor(WEIR_COUNT_FLOOR_REFUSED);
  ip(commands);
  EXPECT_GT(at_the_floor(WEIR_COUNT_FLOOR_REFUSED), refused) << "frames went on";
  ASSERT_TRUE(stands_still()) << "the last one is bounded as well";
  EXPECT_EQ(guard(), before);
  EXPECT_EQ(descriptors(), had);
  EXPECT_EQ(floors(), laid);
  if (pinned) {
    EXPECT_TRUE(fs::exists(floor_of(kDevice)));
    EXPECT_TRUE(fs::exists(floor_of("desk0")));
  }
  EXPECT_LE(charged(), kLimit);
  EXPECT_EQ(errors().find("was removed"), std::string::npos) << errors();
  EXPECT_EQ(states().size(), seen_) << "nothing was lacking";
  fmt::print("{} devices: {} descriptors before, {} after, {} frames passed\n", kTimes, had,
             descriptors(), frames.sent());
}

}  // namespace
}  // namespace weir
