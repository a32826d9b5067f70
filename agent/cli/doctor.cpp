// `weir doctor`: every control on this host, found by trying it; what is lost where one is missing.
#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "agent/cli/commands.h"
#include "agent/cli/policy_file.h"
#include "agent/cli/printer.h"
#include "agent/guard/flat_policy.h"
#include "agent/guard/host_needs.h"
#include "agent/run/cgroup.h"
#include "agent/run/flatten.h"
#include "agent/run/state_dir.h"
#include "agent/wire/report_proto.h"
#include "core/policy/evaluate.h"
#include "platform/linux/canary.h"
#include "platform/linux/kernel_part.h"
#include "platform/linux/lsm.h"
#include "platform/linux/pinned_tables.h"
#include "weir/v1/report.pb.h"

namespace weir {
namespace {

constexpr std::string_view kUntried = "untried";  // of what is attached
constexpr std::uint32_t kTierBpf = 1, kTierLsm = 2, kTierObserve = 4;

struct Findings {
  std::vector<v1::Control> controls;
  std::vector<KernelProgram> programs;  // as they were tried alone
  v1::DoctorSummary summary;
};

v1::Control control_of(const KernelProgram& program) {
  v1::Control control;
  control.set_control(program.name);
  control.set_tier(program.name == kLsmProgram ? kTierLsm : kTierBpf);
  control.set_state(program.loaded ? v1::Control::effective : v1::Control::unavailable);
  control.set_detail(program.problem);
  if (!program.loaded) {
    v1::Reason* lost = control.add_lost();
    lost->set_code("control_missing");
    lost->add_args(program.name);
    lost->set_text(program.lost);
  }
  return control;
}

void add_cgroup(Findings& found) {
  v1::Control control;
  Result<std::string> root = cgroup2_root();
  control.set_control("cgroup2");
  control.set_tier(kTierBpf);
  control.set_state(root ? v1::Control::effective : v1::Control::unavailable);
  control.set_detail(root ? *root : root.error().sentence);
  found.controls.push_back(std::move(control));
}

Findings examine() {
  Findings found;
  add_cgroup(found);
  bool whole = found.controls[0].state() == v1::Control::effective;
  found.programs = KernelPart::probe();
  for (const KernelProgram& program : found.programs) {
    found.controls.push_back(control_of(program));
    whole = whole && (program.loaded || !program.required);
  }
  utsname kernel{};
  ::uname(&kernel);
  found.summary.set_kernel(kernel.release);
  found.summary.set_tier(whole ? kTierBpf : kTierObserve);
  return found;
}

bool is_effective(const Findings& found, std::string_view name) {
  return std::any_of(found.controls.begin(), found.controls.end(), [&](const v1::Control& control) {
    return control.control() == name && control.state() == v1::Control::effective;
  });
}

v1::Control* control_named(Findings& found, const std::string& name) {
  for (v1::Control& control : found.controls)
    if (control.control() == name) return &control;
  return nullptr;
}

// It was loaded, or not; whether what is attached works no try could tell.
void say_untried(v1::Control& control) {
  if (control.state() != v1::Control::effective) return;
  control.set_detail(std::string(kUntried));
}

// What a running agent has attached: a canary shows whether it works. An Error: nothing was tried.
Result<void> try_running(const std::string& state_dir, Findings& found) {
  Result<RunningAgent> agent = read_running(state_dir);
  // Nothing holds here: what could be attached is all that can be said.
  if (!agent || !read_pinned(agent->pin_dir)) return {};
  if (v1::Control* lsm = control_named(found, kLsmProgram);
      lsm->state() == v1::Control::effective && !lsm_answers()) {
    lsm->set_state(v1::Control::failed);
    lsm->set_detail("the running agent has not attached it");
    found.summary.set_degraded(true);
  }
  Result<std::string> root = agent->cgroup.empty() ? cgroup2_root() : agent->cgroup;
  if (!root) return tl::unexpected(root.error());
  Result<ChildCgroup> cgroup = agent_cgroup(*root, "weir-doctor-");
  if (!cgroup) return tl::unexpected(cgroup.error());
  Result<std::vector<TriedControl>> tried = try_controls(agent->pin_dir, cgroup->fd());
  if (!tried) return tl::unexpected(tried.error());
  std::set<std::string> tried_all;
  for (const TriedControl& one : *tried) {
    v1::Control* control = control_named(found, one.program);
    if (control == nullptr) continue;
    tried_all.insert(one.program);
    if (one.state == TriedControl::State::untried) {
      say_untried(*control);
      continue;
    }
    const bool works = one.state == TriedControl::State::works;
    control->set_state(works ? v1::Control::effective : v1::Control::failed);
    control->set_detail(one.detail);
    if (!works) found.summary.set_degraded(true);
  }
  for (v1::Control& control : found.controls)
    if (control.control().starts_with("weir_") && !tried_all.contains(control.control()))
      say_untried(control);
  return {};
}

// But for tier 2, which is known by more than its program.
std::vector<std::string> lacks_of_this_kernel(Policy policy, const Findings& found) {
  policy.defaults.other_families = OtherFamilies::detect;
  const std::vector<std::uint8_t> bytes = flatten(policy, {});
  Result<FlatPolicy> flat = read_flat_policy(bytes);
  return flat ? lacks_of(*flat, {found.programs}) : std::vector<std::string>{flat.error().sentence};
}

void print_text(const Findings& found, Language language) {
  for (const v1::Control& control : found.controls) {
    bool effective = control.state() == v1::Control::effective;
    fmt::print("{}  {:<24} {}\n",
               effective ? either(language, "yes", "有效") : either(language, "no ", "无效"),
               control.control(),
               control.detail() == kUntried ? either(language, "untried", "未自检")
                                            : std::string_view(control.detail()));
    for (const v1::Reason& lost : control.lost())
      fmt::print("       {}{}\n", either(language, "lost: ", "缺失："), lost.text());
  }
  fmt::print(fmt::runtime(either(language, "tier {} on kernel {}: {}\n", "级别 {}，内核 {}：{}\n")),
             found.summary.tier(), found.summary.kernel(),
             found.summary.tier() < kTierObserve
                 ? either(language, "the kernel can hold a bound", "内核可以执行限额")
                 : either(language, "nothing can be bounded here, only observed",
                          "此处无法限额，只能观察"));
  for (const std::string& part : found.summary.unenforceable())
    fmt::print("{}{}\n", either(language, "not enforced: ", "不执行："), part);
}

}  // namespace

int cmd_doctor(int argc, char** argv) {
  CLI::App app("Try every control on this host, and say what is lost where one is missing.",
               "weir doctor");
  std::string policy_file, format = "text", state_dir = kStateDir;
  app.add_option("--policy", policy_file, "also: what of this policy can't be enforced here")
      ->type_name("FILE");
  app.add_option("--state", state_dir, "of the agent whose controls are tried by a canary")
      ->type_name("DIR")
      ->capture_default_str();
  add_choice(app, "--format", format, {"text", "json"}, "how it is printed");
  if (int status = parse_arguments(app, argc, argv); status >= 0) return status;
  if (::geteuid() != 0) {
    fmt::print(stderr, "weir doctor: only root can try the controls\n");
    return kExitNotAllowed;
  }
  Findings found = examine();
  if (auto tried = try_running(state_dir, found); !tried)
    fmt::print(stderr, "weir doctor: {}\n", tried.error().sentence);
  if (found.summary.tier() == kTierBpf && is_effective(found, kLsmProgram))
    found.summary.set_tier(kTierLsm);
  if (!policy_file.empty()) {
    auto policy = read_policy_file(policy_file);
    if (!policy) {
      fmt::print(stderr, "weir doctor: {}\n", policy.error().sentence);
      return kExitUsage;
    }
    for (std::string& part : unenforceable(**policy))
      found.summary.add_unenforceable(std::move(part));
    for (std::string& part : lacks_of_this_kernel(**policy, found))
      found.summary.add_unenforceable(std::move(part));
    if ((*policy)->defaults.other_families == OtherFamilies::prevent &&
        found.summary.tier() != kTierLsm)
      found.summary.add_unenforceable(fmt::format(
          "{}: {}", kNeedsLsm, "BPF LSM: " + control_named(found, kLsmProgram)->detail()));
    bool bounds = !(*policy)->limits.empty();
    found.summary.set_degraded(found.summary.degraded() || found.summary.unenforceable_size() > 0 ||
                               (bounds && found.summary.tier() == kTierObserve));
  }
  if (format == "json") {
    for (const v1::Control& control : found.controls) fmt::print("{}\n", json_line(control));
    fmt::print("{}\n", json_line(found.summary));
  } else {
    print_text(found, language_of_caller());
  }
  return found.summary.degraded() ? kExitDegraded : kExitDone;
}

}  // namespace weir
