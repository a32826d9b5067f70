// `weir doctor`: every control on this host, found by trying it; what is lost where one is missing.
#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <vector>

#include "agent/cli/commands.h"
#include "agent/cli/policy_file.h"
#include "agent/cli/printer.h"
#include "agent/wire/report_proto.h"
#include "core/policy/evaluate.h"
#include "platform/linux/kernel_part.h"
#include "weir/v1/report.pb.h"

namespace weir {
namespace {

constexpr std::uint32_t kTierBpf = 1, kTierObserve = 4;

struct Findings {
  std::vector<v1::Control> controls;
  v1::DoctorSummary summary;
};

v1::Control control_of(const KernelProgram& program) {
  v1::Control control;
  control.set_control(program.name);
  control.set_tier(kTierBpf);
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
  for (const KernelProgram& program : KernelPart::probe()) {
    found.controls.push_back(control_of(program));
    whole = whole && (program.loaded || !program.required);
  }
  utsname kernel{};
  ::uname(&kernel);
  found.summary.set_kernel(kernel.release);
  found.summary.set_tier(whole ? kTierBpf : kTierObserve);
  return found;
}

void print_text(const Findings& found, Language language) {
  for (const v1::Control& control : found.controls) {
    bool effective = control.state() == v1::Control::effective;
    fmt::print("{}  {:<24} {}\n",
               effective ? either(language, "yes", "有效") : either(language, "no ", "无效"),
               control.control(), control.detail());
    for (const v1::Reason& lost : control.lost())
      fmt::print("       {}{}\n", either(language, "lost: ", "缺失："), lost.text());
  }
  fmt::print(fmt::runtime(either(language, "tier {} on kernel {}: {}\n", "级别 {}，内核 {}：{}\n")),
             found.summary.tier(), found.summary.kernel(),
             found.summary.tier() == kTierBpf
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
  std::string policy_file, format = "text";
  app.add_option("--policy", policy_file, "also: what of this policy can't be enforced here")
      ->type_name("FILE");
  add_choice(app, "--format", format, {"text", "json"}, "how it is printed");
  if (int status = parse_arguments(app, argc, argv); status >= 0) return status;
  if (::geteuid() != 0) {
    fmt::print(stderr, "weir doctor: only root can try the controls\n");
    return kExitNotAllowed;
  }
  Findings found = examine();
  if (!policy_file.empty()) {
    auto policy = read_policy_file(policy_file);
    if (!policy) {
      fmt::print(stderr, "weir doctor: {}\n", policy.error().sentence);
      return kExitUsage;
    }
    for (std::string& part : unenforceable(**policy))
      found.summary.add_unenforceable(std::move(part));
    bool bounds = !(*policy)->limits.empty();
    found.summary.set_degraded(found.summary.unenforceable_size() > 0 ||
                               (bounds && found.summary.tier() != kTierBpf));
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
