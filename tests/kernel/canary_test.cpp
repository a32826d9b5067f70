// Controls that are tried by a canary: what stopped working is found, and nothing else.
#include "platform/linux/canary.h"

#include <bpf/bpf.h>
#include <fcntl.h>

#include <map>

#include "platform/files/fd.h"
#include "tests/kernel/kernel_test.h"

namespace weir::test {
namespace {

using State = TriedControl::State;

constexpr std::uint64_t kLimit = 50'000;

class Canary : public KernelTest {
 protected:
  void SetUp() override {
    KernelTest::SetUp();
    if (!k) return;
    KernelOptions options;
    options.pin_dir = k->desk.pin_dir();
    k->load({limit_row(kLimit, 0, WEIR_PER_PERSON)}, options);
  }
  void TearDown() override {
    if (!k) return;
    k->events.reset();
    k->part.reset();
    EXPECT_TRUE(KernelPart::release(k->desk.pin_dir()));
  }
  std::map<std::string, State> tried() {
    const Fd procs(open((k->desk.cgroup() + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC));
    auto all = try_controls(k->desk.pin_dir(), procs.get());
    EXPECT_TRUE(all) << all.error().sentence;
    std::map<std::string, State> found;
    details_.clear();
    if (all)
      for (const TriedControl& one : *all) {
        found[one.program] = one.state;
        details_ +=
            fmt::format("{} {}: {}\n", one.program, static_cast<int>(one.state), one.detail);
      }
    return found;
  }
  bool is_loaded(const std::string& program) const {
    for (const KernelProgram& one : k->part->programs())
      if (one.name == program) return one.loaded;
    return false;
  }
  // Of a program of the cgroup: others hold their tracepoint until their link ends.
  void take_away(const std::string& program) {
    const std::string pin =
        fmt::format("{}/weir/{}/links/{}", k->desk.pin_dir(), WEIR_LAYOUT, program);
    const Fd link(bpf_obj_get(pin.c_str()));
    ASSERT_EQ(bpf_link_detach(link.get()), 0) << pin;
  }
  std::string details_;
};

TEST_F(Canary, finds_every_control_at_work_and_charges_nobody) {
  const auto begin = boot_now();
  const auto found = tried();
  fmt::print("{} controls tried in {} ms\n", found.size(), (boot_now() - begin) / 1'000'000);
  ASSERT_EQ(found.size(), 14u);
  for (const auto& [program, state] : found) {
    if (program == kLsmProgram && !k->part->has_lsm())
      EXPECT_EQ(state, State::untried) << details_;
    else if (is_loaded(program))
      EXPECT_EQ(state, State::works) << program << '\n' << details_;
  }
  EXPECT_EQ(k->charged(0), 0u);
  EXPECT_EQ(k->accounts_of(WEIR_EXCEPTIONS).size(), 0u) << "its account is gone";
}

TEST_F(Canary, finds_the_one_that_stopped_working_and_no_other) {
  for (const char* gone :
       {"weir_sock_create", "weir_egress", "weir_ingress", "weir_sock_release", "weir_connect4",
        "weir_connect6", "weir_sendmsg4", "weir_sendmsg6", "weir_setsockopt"}) {
    SCOPED_TRACE(gone);
    take_away(gone);
    for (const auto& [program, state] : tried()) {
      if (program == gone)
        EXPECT_EQ(state, State::fails) << details_;
      else
        EXPECT_NE(state, State::fails) << program << '\n' << details_;
    }
    EXPECT_FALSE(k->part->mend().empty());
    for (const auto& [program, state] : tried())
      EXPECT_NE(state, State::fails) << program << '\n' << details_;
  }
}

TEST_F(Canary, bound_that_counts_too_much_is_no_bound_that_fails) {
  k->part->isolate(boot_now() + 3600 * kSecond);
  for (const auto& [program, state] : tried())
    EXPECT_NE(state, State::fails) << program << '\n' << details_;
  EXPECT_NE(details_.find("isolated"), std::string::npos) << details_;
}

TEST_F(Canary, without_pins_says_nothing_about_the_controls) {
  const Fd procs(open((k->desk.cgroup() + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC));
  auto all = try_controls(k->desk.pin_dir() + "/none", procs.get());
  ASSERT_FALSE(all);
  EXPECT_NE(all.error().sentence.find("nothing of Weir is pinned"), std::string::npos);
}

}  // namespace
}  // namespace weir::test
