// Sentences from reasons, and a report in a few lines.
#include "core/policy/explain.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "core/policy/catalogue.h"
#include "core/policy/explain_words.h"
#include "core/policy/reasons.h"
#include "core/policy/units.h"
#include "core/policy/words.h"

namespace weir {
namespace {

constexpr std::size_t kMaxArgument = 256;  // bytes shown; a host name has at most 253
constexpr std::size_t kMaxReasons = 3;     // of a finding; the first are the strongest

std::optional<std::uint64_t> number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string service_title(const std::string& id) {
  const Service* service = id.empty() ? nullptr : Catalogue::built_in().find_id(id);
  return printable(service && !service->title.empty() ? service->title : id);
}

std::string formatted(std::string_view form, const std::string& argument, Language language) {
  const auto value = number(argument);
  if (form == "bytes" && value) return human_bytes(*value, language);
  if (form == "half" && value) return human_bytes(*value / 2, language);
  if (form == "seconds" && value) return human_seconds(*value, language);
  if (form == "window")
    if (const auto window = parse_duration_ns(argument))
      return human_seconds(static_cast<std::uint64_t>(*window / kSecond_ns), language);
  if (form == "percent") return printable(argument) + (language == Language::chinese ? "%" : " %");
  if (form == "service") return service_title(argument);
  if (form == "per") return std::string(per_words(argument, language));
  return printable(argument);
}

std::string filled(std::string_view text, const std::vector<std::string>& args, Language language) {
  std::string out;
  while (true) {
    const std::size_t open = text.find('{');
    out += text.substr(0, open);
    if (open == std::string_view::npos) return out;
    const std::size_t close = text.find('}', open);
    const std::string_view inner = text.substr(open + 1, close - open - 1);
    const auto index = static_cast<std::size_t>(inner[0] - '0');  // the tables use one digit
    out += formatted(inner.size() > 2 ? inner.substr(2) : "",
                     index < args.size() ? args[index] : "?", language);
    text.remove_prefix(close + 1);
  }
}

struct Named {
  std::string_view id;
  Words what;
};
// What a finding says happened, before its numbers.
constexpr std::array<Named, 13> kHappened = {{
    {"dns_tunnel", {"Data left inside DNS questions", "数据夹带在 DNS 查询中发出"}},
    {"cloud_upload", {"A file was uploaded to a cloud service", "有文件上传到云服务"}},
    {"bulk_egress", {"An unusually large amount was sent", "发出了异常多的数据"}},
    {"messaging_upload", {"A file was sent through a messenger", "通过即时通讯发送了文件"}},
    {"mail_attachment", {"An attachment was mailed", "通过邮件发送了附件"}},
    {"tunnel", {"Data left through a tunnel", "数据通过隧道发出"}},
    {"encrypted_dns", {"Names were looked up past the resolver", "绕过解析服务器查询域名"}},
    {"name_mismatch", {"A server was not who its name said", "服务器与其名称不符"}},
    {"limit", {"A limit is spent", "额度已用完"}},
    {"tampering", {"What bounds this machine was tampered with", "本机的管控遭到破坏"}},
    {"other_family", {"A socket that no limit counts", "任何限额都不计入的套接字"}},
    {"release", {"What bounds this machine has changed", "本机的管控发生变更"}},
    {"policy", {"Something that a rule speaks of was sent", "发出了某条规则所涉及的数据"}},
}};

struct ActionWords {
  Action action;
  Words done;   // it is in force
  Words would;  // mode observe, or a capture
  Words next;
};
constexpr Words kAsk = {"If you need this for your work, tell your administrator the number {}.",
                        "如工作需要，请将编号 {} 告诉管理员。"};
constexpr Words kNothing = {"You need not do anything.", "您无需进行任何操作。"};
constexpr std::array<ActionWords, 6> kActions = {{
    {Action::log, {"It was recorded.", "已记录。"}, {"It was recorded.", "已记录。"}, kNothing},
    {Action::warn,
     {"It went through; please check that it was meant.", "已放行，请确认是否为本意。"},
     {"It went through; please check that it was meant.", "已放行，请确认是否为本意。"},
     kAsk},
    {Action::limit,
     {"More than the limit does not leave; everything else goes on.",
      "超出额度的部分不会发出，其他一切照常。"},
     {"In enforce mode, what is over the limit would not leave.",
      "在执行模式下，超出额度的部分将不会发出。"},
     kAsk},
    {Action::hold,
     {"It waits for an answer.", "正在等待答复。"},
     {"In enforce mode it would wait for an answer.", "在执行模式下将等待答复。"},
     kAsk},
    {Action::block,
     {"It was stopped; other programs go on.", "已阻止，其他程序照常。"},
     {"In enforce mode it would be stopped.", "在执行模式下将被阻止。"},
     kAsk},
    {Action::isolate,
     {"This machine is cut off, except from its administrators.", "本机已被隔离，仅管理员可连接。"},
     {"In enforce mode this machine would be cut off.", "在执行模式下本机将被隔离。"},
     kAsk},
}};

std::string who(const Report& report, Language language) {
  const Actor& actor = report.actor;
  std::string name;
  if (actor.person == kForwarded)
    return std::string(Words{"a machine or container behind this one, or its kernel,",
                             "本机转发的设备或容器（或本机内核）"}
                           .in(language));
  if (!actor.program.empty())
    name = printable(std::string_view(actor.program).substr(actor.program.rfind('/') + 1));
  else if (actor.address != IpAddress{})
    name = actor.address.text();
  else
    name = Words{"a program", "某程序"}.in(language);
  if (actor.person != kNoPerson)
    name +=
        fmt::format(fmt::runtime(Words{" (person {})", "（用户 {}）"}.in(language)), actor.person);
  return name;
}

std::string where(const Destination& to) {
  if (!to.zone.empty()) return printable(to.zone);
  const std::string title = service_title(to.service);
  const std::string host = !to.name.empty() ? printable(to.name) : to.endpoint.address.text();
  return title.empty() ? host : fmt::format("{} ({})", title, host);
}

// Nobody is known, and nothing was sent.
bool is_about_host(const Report& report) {
  return report.finding.detector == "tampering" || report.finding.detector == "release";
}

std::string happened(const Report& report, Language language) {
  std::string_view what = Words{"Something was noticed", "发现异常"}.in(language);
  for (const Named& named : kHappened)
    if (named.id == report.finding.detector) what = named.what.in(language);
  if (is_about_host(report)) return std::string(what) + Words{".", "。"}.in(language).data();
  if (report.finding.detector == "other_family")
    return fmt::format(fmt::runtime(Words{"{}: {}, by {}.", "{}：{}，使用者：{}。"}.in(language)),
                       what, where(report.destination), who(report, language));
  constexpr Words kSentence = {"{}: {} sent {} to {}.", "{}：{} 发出 {}，去向 {}。"};
  std::string text =
      fmt::format(fmt::runtime(kSentence.in(language)), what, who(report, language),
                  human_bytes(report.bytes_out, language), where(report.destination));
  constexpr Words kCustomers = {" Customers affected: {}.", "涉及客户：{} 位。"};
  if (report.customers > 0)
    text += fmt::format(fmt::runtime(kCustomers.in(language)), report.customers);
  return text;
}

}  // namespace

std::string human_bytes(std::uint64_t bytes) {
  return human_bytes(bytes, Language::english);
}

std::string human_bytes(std::uint64_t bytes, Language language) {
  if (bytes < 1024) {
    if (language == Language::chinese) return fmt::format("{} 字节", bytes);
    return fmt::format("{} byte{}", bytes, bytes == 1 ? "" : "s");
  }
  constexpr std::array<std::string_view, 6> kUnits = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  std::size_t unit = 0;
  double value = static_cast<double>(bytes) / 1024;
  while (value >= 1023.95 && unit + 1 < kUnits.size()) {  // so that rounding never shows 1024.0
    value /= 1024;
    ++unit;
  }
  std::string text = fmt::format("{:.1f}", value);
  if (text.ends_with(".0")) text.resize(text.size() - 2);
  return fmt::format("{} {}", text, kUnits[unit]);
}

std::string human_seconds(std::uint64_t seconds, Language language) {
  struct Unit {
    std::uint64_t factor;
    Words name;
  };
  constexpr std::array<Unit, 4> kUnits = {{{86400, {"day", "天"}},
                                           {3600, {"hour", "小时"}},
                                           {60, {"minute", "分钟"}},
                                           {1, {"second", "秒"}}}};
  if (seconds == 0) return std::string(Words{"in all", "总计"}.in(language));
  for (const Unit& unit : kUnits) {
    const std::uint64_t count = seconds / unit.factor;
    if (seconds % unit.factor != 0 || (unit.factor == 86400 && count == 1)) continue;
    return fmt::format("{} {}{}", count, unit.name.in(language),
                       language == Language::english && count != 1 ? "s" : "");
  }
  return {};
}

std::string printable(std::string_view text) {
  std::string out;
  for (char c : text.substr(0, kMaxArgument))
    out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  if (text.size() > kMaxArgument) {
    while (!out.empty() && (static_cast<unsigned char>(out.back()) & 0xc0) == 0x80) out.pop_back();
    if (!out.empty() && static_cast<unsigned char>(out.back()) >= 0xc0) out.pop_back();
    out += "...";
  }
  return out;
}

std::string_view per_words(Per per, Language language) {
  switch (per) {
    case Per::process_tree:
      return Words{"started program", "启动的程序"}.in(language);
    case Per::person:
      return Words{"person", "用户"}.in(language);
    case Per::host:
      return Words{"machine", "主机"}.in(language);
    case Per::destination:
      return Words{"destination of a person", "用户的去向"}.in(language);
    case Per::process_tree_destination:
      return Words{"destination of a started program", "程序的去向"}.in(language);
    case Per::host_destination:
      return Words{"destination of the machine", "主机的去向"}.in(language);
    case Per::flow:
      return Words{"connection", "连接"}.in(language);
    case Per::unspecified:
      break;
  }
  return "?";
}

std::string_view per_words(std::string_view name, Language language) {
  for (Per per : {Per::process_tree, Per::person, Per::host, Per::destination,
                  Per::process_tree_destination, Per::host_destination, Per::flow})
    if (per_name(per) == name) return per_words(per, language);
  return "?";
}

std::string explain(const Reason& reason, Language language) {
  for (const ReasonText& text : reason_texts())
    if (text.code == reason.code)
      return filled(language == Language::chinese ? text.chinese : text.english, reason.args,
                    language);
  std::string args;
  for (const auto& arg : reason.args) args += (args.empty() ? "" : ", ") + printable(arg);
  return fmt::format("{}({})", printable(reason.code), args);
}

std::string explain(const Report& report, Language language) {
  const std::string_view blank = language == Language::chinese ? "" : " ";
  std::string text = happened(report, language);
  std::string why;
  std::size_t reasons = 0;
  for (const Reason& reason : report.finding.because) {
    if (reasons++ == kMaxReasons) break;
    if (!why.empty()) why += blank;
    why += explain(reason, language);
  }
  if (!why.empty()) text += "\n" + why;
  if (is_about_host(report)) {
    constexpr Words kTell = {"If your administrator did not do this, tell them the number {}.",
                             "如非管理员所为，请将编号 {} 告诉管理员。"};
    return text + '\n' + fmt::format(fmt::runtime(kTell.in(language)), printable(report.id));
  }
  for (const ActionWords& words : kActions) {
    if (words.action != report.decision.action) continue;
    text += '\n';
    if (!report.decision.rule.empty())
      text +=
          explain(Reason{"rule_matched", {report.decision.rule}}, language) + std::string(blank);
    text += (report.decision.enforced ? words.done : words.would).in(language);
    text += '\n';
    text += fmt::format(fmt::runtime(words.next.in(language)), printable(report.id));
  }
  return text;
}

}  // namespace weir
