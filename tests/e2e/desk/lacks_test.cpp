// A policy that asks for more than this host has, by loads that are made to fail: it is refused,
// what is missing is named, and the one before stays. A device that comes and takes no program of
// ours is told, too.
#include <bpf/bpf.h>
#include <fmt/format.h>
#include <linux/bpf.h>
#include <net/if.h>

#include "agent/guard/host_needs.h"
#include "platform/files/fd.h"
#include "tests/e2e/desk/guarded_desk.h"

namespace weir {
namespace {

constexpr char kDevice[] = "lacks0", kOther[] = "lacks1", kPeer[] = "lacks2";

int sh(const std::string& command) {
  return std::system((command + " 2>&1").c_str());
}

// A program cannot be pinned where a folder is: it is taken from its place again.
struct Missing {
  const char* program;
  const char* part;
};
void PrintTo(const Missing& missing, std::ostream* out) {
  *out << missing.program;
}

// A desk on which nothing was started yet.
class Prepared : public GuardedDesk {
 protected:
  void SetUp() override {
    WEIR_NEEDS_KERNEL();
    desk_.emplace();
    GuardedHost::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    fs::remove(cgroup_);
    cgroup_ = desk_->cgroup();
  }
};

class Lacking : public Prepared, public testing::WithParamInterface<Missing> {
 protected:
  Lacking() { interface_ = "desk0"; }
  fs::path hindrance() const {
    return base_ / "bpf/weir" / std::to_string(WEIR_LAYOUT) / "links" / GetParam().program;
  }
  void hinder() const { fs::create_directories(hindrance()); }
  static bool is_dead(pid_t pid) {
    std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
    std::string number, name, state;
    return !(file >> number >> name >> state) || state == "Z";
  }
};

TEST_P(Lacking, a_policy_that_rests_on_it_is_refused_and_one_that_observes_is_not) {
  const std::string needs = fmt::format("{}: {}: cannot pin ", GetParam().part, GetParam().program);
  const fs::path file = base_ / "enforces.yaml";
  std::ofstream(file) << "apiVersion: weir/v1\nname: t\nmode: enforce\nrules:\n  - id: all\n"
                         "    then: {limit: {bytes: 1MiB, per: person}}\n";
  hinder();
  const auto [status, said] =
      weir("run --policy " + file.string() + " --state " + (base_ / "other").string() +
           " --cgroup " + cgroup_ + " --interface desk0 --pin " + (base_ / "bpf").string());
  EXPECT_EQ(status, 2) << said;
  EXPECT_NE(said.find("this host can't enforce the policy: " + needs), std::string::npos) << said;
  EXPECT_FALSE(fs::exists(base_ / "bpf/weir")) << "nothing holds";

  hinder();
  start();
  ASSERT_EQ(next_state(), "4 0  0") << errors();
  offer({.number = 3});
  EXPECT_EQ(next_state(), "2 0 policy_host_lacks 3");
  EXPECT_NE(errors().find("It asks for what this host does not have: " + needs), std::string::npos)
      << errors();
  EXPECT_EQ(stop(), 0) << errors();

  // One that was in force before stays, and is told.
  fs::remove(hindrance());
  start();
  ASSERT_EQ(next_state(), "4 0  0") << errors();
  offer({.number = 3});
  ASSERT_EQ(next_state(), "1 3  0") << errors();
  await_kept();
  const pid_t killed = guard();
  ASSERT_EQ(::kill(agent_, SIGSTOP), 0);  // it starts the next one once that finds what it should
  ::kill(killed, SIGKILL);
  ASSERT_TRUE(await([&] { return is_dead(killed); }));
  fs::remove(hindrance());
  hinder();
  ::kill(agent_, SIGCONT);
  EXPECT_EQ(next_state(), "2 3 policy_host_lacks 3") << errors();
  EXPECT_EQ(kernel_bytes(), 1u << 20);
}

INSTANTIATE_TEST_SUITE_P(programs, Lacking,
                         testing::Values(Missing{"weir_exec", "mode: enforce"},
                                         Missing{"weir_ingress", "mode: enforce"},
                                         Missing{"weir_setsockopt", "then: limit"}),
                         [](const auto& info) { return std::string(info.param.program); });

class FullDevice : public Prepared {
 protected:
  FullDevice() { interface_ = kDevice; }
  void TearDown() override {
    others_.clear();
    sh(fmt::format("ip -br link show {0} && ip link del {0}", kDevice));
    GuardedDesk::TearDown();
  }
  // A device under another name, with as many programs as the kernel takes; then it is ours.
  void bring() {
    const bpf_insn pass[] = {
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = -1},
        {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}};
    ASSERT_EQ(sh(fmt::format("ip link add {} type veth peer name {}", kOther, kPeer)), 0);
    const auto index = static_cast<int>(::if_nametoindex(kOther));
    constexpr auto kTcxEgress = static_cast<bpf_attach_type>(47);
    constexpr std::size_t kMore = 1000;  // the kernel takes 64
    while (others_.size() < kMore) {     // each program once
      const Fd program(
          ::bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "pass", "GPL", pass, std::size(pass), nullptr));
      ASSERT_TRUE(program);
      Fd link(::bpf_link_create(program.get(), index, kTcxEgress, nullptr));
      if (!link) break;
      others_.push_back(std::move(link));
    }
    if (others_.empty()) GTEST_SKIP() << "this kernel has no tcx";
    ASSERT_LT(others_.size(), kMore);
    ASSERT_EQ(sh(fmt::format("ip link set {} name {}", kOther, kDevice)), 0);
  }
  std::vector<Fd> others_;
};

TEST_F(FullDevice, is_told_while_it_is_there_and_a_policy_with_limits_is_refused_for_it) {
  ASSERT_EQ(sh(fmt::format("ip link add {} type veth peer name {}", kDevice, kPeer)), 0);
  start();
  ASSERT_EQ(next_state(), "4 0  0") << errors();
  offer({.number = 1});
  ASSERT_EQ(next_state(), "1 1  0") << errors();
  ASSERT_EQ(sh(fmt::format("ip link del {}", kDevice)), 0);
  bring();
  if (IsSkipped() || HasFatalFailure()) return;
  EXPECT_EQ(next_state(), "2 1 policy_host_lacks 1") << "of the one in force, the rest holds";
  others_.clear();
  EXPECT_EQ(next_state(), "1 1  0") << errors();
  ASSERT_EQ(sh(fmt::format("ip link del {}", kDevice)), 0);
  bring();
  EXPECT_EQ(next_state(), "2 1 policy_host_lacks 1");
  offer({.number = 2, .limit = "2MiB"});
  EXPECT_EQ(next_state(), "2 1 policy_host_lacks 2");
  EXPECT_EQ(kernel_bytes(), 1u << 20) << "the one before stays";
  EXPECT_NE(errors().find(fmt::format("It asks for what this host does not have: then: limit: "
                                      "cannot attach to the device {}",
                                      kDevice)),
            std::string::npos)
      << errors();
  ASSERT_EQ(sh(fmt::format("ip link del {}", kDevice)), 0);
  others_.clear();
  EXPECT_TRUE(await([&] {
    offer({.number = 3, .limit = "2MiB"});
    return next_state() == "1 3  0";
  })) << errors();
  EXPECT_EQ(kernel_bytes(), 2u << 20);
}

}  // namespace
}  // namespace weir
