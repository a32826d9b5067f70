// Reads reports and makes what a person hears of them: see asked.h. Runs without rights.
#include <fmt/format.h>
#include <google/protobuf/util/json_util.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <map>
#include <vector>

#include "agent/run/asked.h"
#include "agent/run/asked_reports.h"
#include "agent/wire/report_proto.h"
#include "core/policy/explain.h"
#include "proto/map/text.h"
#include "weir/v1/agent.pb.h"
#include "weir/v1/report.pb.h"

namespace weir {
namespace {

constexpr std::uint32_t kFailed = 1, kUsage = 2;
constexpr std::size_t kMaxLine = 1u << 20;  // of a report
constexpr std::size_t kMaxEvents = 2'000;   // that are told; the newest
// Where no limit's number stands in the report: a letter with a few pictures.
constexpr std::uint64_t kDefaultBytes = 10u << 20;

std::string_view either(bool chinese, std::string_view english, std::string_view other) {
  return chinese ? other : english;
}

// Calls back for each line of a file, however large it is; longer ones are left out.
template <class F>
void each_line(int fd, const F& call) {
  std::string line;
  bool skip = false;
  char piece[65536];
  for (;;) {
    const ssize_t got = ::read(fd, piece, sizeof piece);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return;
    for (const char c : std::string_view(piece, static_cast<std::size_t>(got))) {
      if (c == '\n') {
        if (!skip) call(line);
        line.clear();
        skip = false;
      } else if (line.size() < kMaxLine) {
        line += c;
      } else {
        skip = true;
      }
    }
  }
}

bool is_of(const v1::Report& report, std::uint32_t person) {
  const v1::User& user = report.actor().person().user();
  return user.id_case() == v1::User::kUid && user.uid() == person;
}

// A rule of the policy stopped it: that can be set aside. What an exception brought, or the agent's
// own rows, can't: such names have a '.', a rule's id has none.
bool can_be_asked(const v1::Report& report) {
  const std::string& rule = report.decision().rule();
  return report.decision().enforced() && !rule.empty() && rule.find('.') == std::string::npos;
}

// Leaves the newest. A person has as many reports as they like, and each is some KiB here.
void forget_oldest(std::map<std::string, v1::Report>& found) {
  std::vector<std::int64_t> times;
  for (const auto& [id, report] : found) times.push_back(report.updated().seconds());
  const auto middle = times.end() - static_cast<std::ptrdiff_t>(kMaxEvents);
  std::nth_element(times.begin(), middle, times.end());
  std::erase_if(found, [oldest = *middle](const auto& one) {
    return one.second.updated().seconds() < oldest;
  });
}

}  // namespace

std::map<std::string, v1::Report> reports_of(const AskFacts& facts, std::span<const int> files,
                                             const std::string& wanted) {
  std::map<std::string, v1::Report> found;
  // Most lines are others': those are not parsed.
  const std::string needle = wanted.empty() ? fmt::format("\"uid\":{}", facts.person)
                                            : fmt::format("\"id\":\"{}\"", wanted);
  const std::int64_t since = facts.now_wall_s - std::int64_t{facts.message.days} * 86'400;
  std::size_t most = 2 * kMaxEvents;
  for (int file : files) {
    if (file < 0) continue;
    each_line(file, [&](const std::string& line) {
      v1::Report report;
      if (line.find(needle) == std::string::npos) return;
      if (!google::protobuf::util::JsonStringToMessage(line, &report).ok()) return;
      if (!is_of(report, facts.person) || (!wanted.empty() && report.id() != wanted)) return;
      if (wanted.empty() && report.updated().seconds() < since) return;
      v1::Report& kept = found[report.id()];
      if (kept.id().empty() || report.revision() >= kept.revision()) kept = std::move(report);
      if (found.size() > most) {
        forget_oldest(found);
        most = found.size() + kMaxEvents;
      }
    });
  }
  return found;
}

namespace {

std::string where(const v1::Destination& to) {
  const std::string name = !to.name().empty() ? to.name() : to.zone();
  if (!name.empty()) return shown(name);
  return to.port() == 0 ? shown(to.address())
                        : fmt::format("{}:{}", shown(to.address()), to.port());
}

AskAnswer events(const AskFacts& facts, std::span<const int> files) {
  const bool chinese = (facts.message.flags & kAskChinese) != 0;
  const Language language = chinese ? Language::chinese : Language::english;
  std::vector<v1::Report> all;
  for (auto& [id, report] : reports_of(facts, files, "")) all.push_back(std::move(report));
  std::ranges::sort(all, {}, [](const v1::Report& r) {
    return std::pair(r.updated().seconds(), r.updated().nanos());
  });
  if (all.size() > kMaxEvents) all.erase(all.begin(), all.end() - kMaxEvents);
  AskAnswer answer;
  for (v1::Report& report : all) {
    add_texts(language, report);
    if ((facts.message.flags & kAskJson) != 0) {
      answer.text += json_line(report) + "\n";
      continue;
    }
    answer.text += fmt::format("{}  {}  {}  {}\n", shown_time(report.updated().seconds()),
                               report.decision().enforced() ? either(chinese, "stopped", "已限制")
                                                            : either(chinese, "reported", "仅报告"),
                               where(report.destination()), human_bytes(report.bytes_out()));
    if (!report.finding().because().empty())
      answer.text += fmt::format("    {}\n", report.finding().because(0).text());
    if (can_be_asked(report))
      answer.text += fmt::format("    weir request {} --because …\n", shown(report.id()));
  }
  if ((facts.message.flags & kAskJson) != 0) return answer;
  if (all.empty())
    answer.text += fmt::format(
        fmt::runtime(either(chinese, "nothing in the last {} days\n", "最近 {} 天内没有记录\n")),
        facts.message.days);
  for (const AskedRequest& asked : facts.asked.all())
    if (asked.person == facts.person)
      answer.text += fmt::format(fmt::runtime(either(chinese, "request {} of {}, about {}: {}\n",
                                                     "申请 {}（{}），关于 {}：{}\n")),
                                 asked.id.data(), shown_time(asked.at_wall_s), asked.report.data(),
                                 state_of(asked, facts, language));
  return answer;
}

// Characters of valid UTF-8.
std::size_t characters(std::string_view text) {
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](char c) { return (c & 0xc0) != 0x80; }));
}

// As much again as the limit that stopped it.
std::uint64_t bytes_again(const v1::Report& report) {
  for (const v1::Reason& reason : report.finding().because()) {
    if (reason.code() != "limit_spent" && reason.code() != "limit_total_spent" &&
        reason.code() != "limit_flow_spent")
      continue;
    if (reason.args_size() < 2) continue;
    const std::uint64_t bytes = std::strtoull(reason.args(1).c_str(), nullptr, 10);
    if (bytes > 0) return std::min(bytes, kMostExceptionBytes);
  }
  return kDefaultBytes;
}

AskAnswer request(const AskFacts& facts, std::span<const int> files) {
  const bool chinese = (facts.message.flags & kAskChinese) != 0;
  const std::string_view reason(facts.message.reason.data(), facts.message.reason_size);
  if (!is_utf8(reason) || characters(reason) > kMaxReason)
    return {kUsage, "the reason is no UTF-8 of at most 1000 characters\n", ""};
  const std::string id = facts.message.report.data();
  const auto found = reports_of(facts, files, id);
  if (found.empty())
    return {
        kUsage,
        fmt::format(fmt::runtime(either(
                        chinese, "no report of yours has the id {}; `weir my-events` lists them\n",
                        "没有编号为 {} 的本人记录；`weir my-events` 可列出\n")),
                    shown(id)),
        ""};
  const v1::Report& report = found.begin()->second;
  if (!can_be_asked(report))
    return {kFailed,
            std::string(
                either(chinese,
                       "no rule of the policy has stopped that: nothing can be set aside. "
                       "`weir my-events` says what can be asked about\n",
                       "没有策略规则限制过它，无可申请；`weir my-events` 列出可以申请的记录\n")),
            ""};
  v1::ExceptionRequest out;
  out.set_id(facts.id);
  out.set_report_id(report.id());
  out.mutable_person()->mutable_user()->set_uid(facts.person);
  *out.mutable_destination() = report.destination();
  out.set_rule(report.decision().rule());
  out.set_justification(std::string(reason));
  out.mutable_time()->set_seconds(facts.now_wall_s);
  out.set_bytes(facts.message.bytes != 0 ? facts.message.bytes : bytes_again(report));
  out.set_duration_s(facts.message.duration_s != 0 ? facts.message.duration_s : kUsualException_s);
  AskAnswer answer;
  answer.record = out.SerializeAsString();
  answer.text = fmt::format(
      fmt::runtime(either(chinese,
                          "request {}: sent to the people who run this collector: to send to {} "
                          "although rule {} stopped it.\nNothing changes until one of them agrees; "
                          "`weir my-events` shows the answer.\n",
                          "申请 {} 已发送给管理员：请求向 {} 发送，尽管规则 {} 已限制。\n"
                          "获批之前不会有任何变化；`weir my-events` 可查看答复。\n")),
      facts.id, where(report.destination()), shown(report.decision().rule()));
  return answer;
}

}  // namespace

AskAnswer answer_asked(const AskFacts& facts, std::span<const int> reports) {
  if (facts.message.kind == AskKind::holds) return what_waits(facts, reports);
  return facts.message.kind == AskKind::events ? events(facts, reports) : request(facts, reports);
}

}  // namespace weir
