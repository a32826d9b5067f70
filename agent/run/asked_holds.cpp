// What waits for a person's answer, in words: see asked.h. The kernel says that it waits; what it
// is called, and how long still, is in the person's reports. Runs without rights.
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <utility>

#include "agent/guard/hold_answer.h"
#include "agent/run/asked.h"
#include "agent/run/asked_reports.h"
#include "agent/wire/report_proto.h"
#include "core/policy/explain.h"
#include "proto/map/text.h"
#include "weir/v1/report.pb.h"

namespace weir {
namespace {

constexpr std::uint64_t kSecondNs = 1'000'000'000;

// The last report about this tree and address that says that it waits.
const v1::Report* report_of(const HeldGroup& group, const std::map<std::string, v1::Report>& all) {
  const v1::Report* newest = nullptr;
  for (const auto& [id, report] : all) {
    if (report.decision().action() != v1::Action::hold || !report.decision().enforced()) continue;
    if (report.actor().tree() != group.place.tree) continue;
    if (report.destination().address() != group.to.address.text()) continue;
    if (newest == nullptr || newest->updated().seconds() < report.updated().seconds())
      newest = &report;
  }
  return newest;
}

// How long a flow waits, as the report's reason has it.
std::optional<std::uint64_t> seconds_of(const v1::Report& report) {
  for (const v1::Reason& reason : report.finding().because())
    if ((reason.code() == "held_then_closed" || reason.code() == "held_then_goes") &&
        reason.args_size() >= 3)
      return std::strtoull(reason.args(2).c_str(), nullptr, 10);
  return std::nullopt;
}

v1::Lease lease_of(const HeldGroup& group, const v1::Report* report, const AskFacts& facts,
                   std::optional<std::uint64_t> most_s, std::uint64_t waits_s) {
  v1::Lease lease;
  lease.set_id(group.id);
  lease.set_action(v1::Action::hold);
  lease.set_tree(group.place.tree);
  lease.mutable_person()->mutable_user()->set_uid(group.person);
  if (report != nullptr) {
    *lease.mutable_destination() = report->destination();
    *lease.mutable_decision() = report->decision();
    lease.set_report_id(report->id());
  }
  lease.mutable_destination()->set_address(group.to.address.text());
  lease.mutable_destination()->set_port(group.to.port);
  if (most_s)
    lease.mutable_until()->set_seconds(facts.now_wall_s + static_cast<std::int64_t>(*most_s) -
                                       static_cast<std::int64_t>(std::min(waits_s, *most_s)));
  return lease;
}

}  // namespace

std::vector<HeldGroup> grouped(std::span<const KernelHold> holds) {
  std::vector<HeldGroup> groups;
  for (const KernelHold& hold : holds) {
    if (hold.flow.closed != 0) continue;
    const HeldPlace place{hold.flow.limit, hold.flow.tree, hold.flow.dest};
    auto found = std::ranges::find_if(groups, [&](const HeldGroup& one) {
      return one.place.account == place.account && one.place.tree == place.tree &&
             one.place.destination == place.destination;
    });
    if (found == groups.end()) {
      HeldGroup group;
      group.place = place;
      group.id = hold_id(place);
      group.person = hold.flow.person;
      group.pid = hold.flow.pid;
      group.since_ns = hold.flow.since_ns;
      std::copy_n(hold.flow.tuple.remote, 16, group.to.address.bytes.begin());
      group.to.port = hold.flow.tuple.remote_port;
      found = groups.insert(groups.end(), group);
    }
    found->since_ns = std::min(found->since_ns, hold.flow.since_ns);
    ++found->flows;
  }
  std::ranges::sort(groups, {}, &HeldGroup::since_ns);
  return groups;
}

AskAnswer what_waits(const AskFacts& facts, std::span<const int> files) {
  const bool chinese = (facts.message.flags & kAskChinese) != 0;
  const bool json = (facts.message.flags & kAskJson) != 0;
  const Language language = chinese ? Language::chinese : Language::english;
  const auto say = [chinese](std::string_view english, std::string_view other) {
    return fmt::runtime(chinese ? other : english);
  };
  AskAnswer answer;
  AskFacts of_today = facts;
  of_today.message.days = 1;
  const std::map<std::string, v1::Report> reports = reports_of(of_today, files, "");
  for (const HeldGroup& group : grouped(facts.holds)) {
    const v1::Report* report = report_of(group, reports);
    std::string where = group.to.text(), program = fmt::format("pid {}", group.pid);
    if (report != nullptr && !report->destination().name().empty())
      where = fmt::format("{} ({})", shown(report->destination().name()), where);
    if (report != nullptr && !report->actor().program().empty())
      program = shown(report->actor().program());
    const std::uint64_t waits_s =
        facts.now_boot_ns > group.since_ns ? (facts.now_boot_ns - group.since_ns) / kSecondNs : 0;
    const auto most = report != nullptr ? seconds_of(*report) : std::nullopt;
    if (json) {
      answer.text += json_line(lease_of(group, report, facts, most, waits_s)) + "\n";
      continue;
    }
    answer.text += fmt::format(say("{}  {} to {} waits for an answer, for {} by now",
                                   "{}  {} 发往 {} 的数据正在等待答复，已等待{}"),
                               group.id, program, where, human_seconds(waits_s, language));
    if (most)
      answer.text += fmt::format(say("; it ends in {}", "；{}后结束"),
                                 human_seconds(*most - std::min(*most, waits_s), language));
    answer.text += fmt::format(say(" ({} connections)\n    weir answer {} --because …\n",
                                   "（{} 个连接）\n    weir answer {} --because …\n"),
                               group.flows, group.id);
  }
  if (answer.text.empty() && !json)
    answer.text = chinese ? "没有等待您答复的数据\n" : "nothing waits for an answer of yours\n";
  return answer;
}

}  // namespace weir
