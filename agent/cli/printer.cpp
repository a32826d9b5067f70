// Text and JSON of reports, flows and the summary.
#include "agent/cli/printer.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <string_view>

#include "agent/wire/report_proto.h"
#include "core/policy/words.h"

namespace weir {
namespace {

// Names come from the wire: control bytes and other bytes that are no text must not reach a
// terminal.
std::string shown(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f || byte >= 0x80) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  return out;
}

std::string who(const Actor& actor) {
  if (actor.person == kForwarded) return "forwarded, or the kernel's own";
  if (actor.tree == 0) return actor.address.text();
  std::string out =
      actor.program.empty() ? fmt::format("tree {}", actor.tree) : shown(actor.program);
  if (actor.pid != 0) out += fmt::format(" (pid {})", actor.pid);
  if (actor.person != kNoPerson) out += fmt::format(" of uid {}", actor.person);
  return out;
}

std::string where(const Destination& to) {
  std::string out = !to.zone.empty() ? to.zone : !to.name.empty() ? to.name : to.endpoint.text();
  out = shown(out);
  if (!to.service.empty() && to.service != out) out += fmt::format(" ({})", shown(to.service));
  return out;
}

}  // namespace

Language language_of_caller() {
  for (const char* name : {"LC_ALL", "LC_MESSAGES", "LANG"}) {
    const char* value = std::getenv(name);
    if (value == nullptr || *value == '\0') continue;
    return std::string_view(value).starts_with("zh") ? Language::chinese : Language::english;
  }
  return Language::english;
}

bool wants_colour(std::FILE* to) {
  const char* no = std::getenv("NO_COLOR");
  return (no == nullptr || *no == '\0') && isatty(fileno(to)) == 1;
}

void Printer::report(const Report& given) {
  Report report = given;
  report.capture = capture_;
  if (options_.format == Format::json) {
    fmt::print(to_, "{}\n", json_line(report, options_.language));
    return;
  }
  if (!options_.hold) {
    print(report);
    return;
  }
  if (held_.size() >= kMaxHeldReports) flush();
  const auto [at, first] = held_by_id_.try_emplace(report.id, held_.size());
  if (first) {
    held_.push_back(std::move(report));
  } else {
    held_[at->second] = std::move(report);
  }
}

void Printer::flush() {
  for (const Report& report : held_) print(report);
  held_.clear();
  held_by_id_.clear();
}

std::string Printer::paint(Severity severity, std::string_view text) const {
  if (!options_.colour) return std::string(text);
  const int code = severity >= Severity::high ? 31 : severity == Severity::medium ? 33 : 36;
  return fmt::format("\033[1;{}m{}\033[0m", code, text);
}

void Printer::print(const Report& report) {
  const Language language = options_.language;
  fmt::print(to_,
             fmt::runtime(either(language, "{}  {}  {} → {}  {} out, {} in\n",
                                 "{}  {}  {} → {}  发出 {}，收到 {}\n")),
             paint(report.finding.severity, severity_name(report.finding.severity)),
             report.finding.detector, who(report.actor), where(report.destination),
             human_bytes(report.bytes_out, language), human_bytes(report.bytes_in, language));
  const std::string text = explain(report, language);
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    fmt::print(to_, "    {}\n", text.substr(at, end - at));
    at = end + 1;
  }
  fmt::print(to_,
             fmt::runtime(either(language, "    report {} revision {}{}{}\n\n",
                                 "    报告 {} 第 {} 版{}{}\n\n")),
             report.id, report.revision, report.capture.empty() ? "" : ", ", shown(report.capture));
}

void Printer::flow(const FlowRecord& flow) {
  if (!options_.flows) return;
  if (options_.format == Format::json) {
    fmt::print(to_, "{}\n", json_line(flow));
    return;
  }
  fmt::print(to_, "flow  {}  {} → {}  {}  {} out, {} in\n", flow.protocol, flow.key.client.text(),
             flow.key.server.text(), flow.server_name.empty() ? "-" : shown(flow.server_name),
             human_bytes(flow.bytes_out), human_bytes(flow.bytes_in));
}

void Printer::summary(const Counters& counters) {
  if (options_.format == Format::json) {
    fmt::print(to_, "{}\n", json_line(counters));
    return;
  }
  const Language language = options_.language;
  fmt::print(to_,
             fmt::runtime(either(language, "packets {}, on the wire {}, flows {}, reports {}\n",
                                 "数据包 {}，线路上共 {}，流 {}，报告 {}\n")),
             counters.net.packets, human_bytes(counters.net.bytes, language), counters.net.flows,
             counters.reports);
  std::string malformed, dropped;
  for (std::size_t kind = 0; kind < counters.net.malformed.size(); ++kind)
    if (counters.net.malformed[kind] != 0)
      malformed += fmt::format("{}{} {}", malformed.empty() ? "" : ", ",
                               name_of(static_cast<Damage>(kind)), counters.net.malformed[kind]);
  for (const auto& [name, count] : dropped_by_limit(counters))
    if (count != 0) dropped += fmt::format("{}{} {}", dropped.empty() ? "" : ", ", name, count);
  if (!malformed.empty())
    fmt::print(to_, "{}{}\n", either(language, "malformed: ", "格式损坏："), malformed);
  if (!dropped.empty())
    fmt::print(to_, "{}{}\n", either(language, "dropped by a limit: ", "因上限丢弃："), dropped);
}

}  // namespace weir
