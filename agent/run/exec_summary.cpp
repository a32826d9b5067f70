// What `weir exec` says at its end: see exec_summary.h.
#include "agent/run/exec_summary.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>

namespace weir {
namespace {

constexpr std::int64_t kHourNs = 3600ll * 1'000'000'000;

struct Words {  // one sentence or column for each language
  const char* english;
  const char* chinese;
  const char* in(Language language) const {
    return language == Language::chinese ? chinese : english;
  }
};

constexpr Words kStopped{
    "weir: stopped at its limit of {}: {} left this machine, {} more were refused.\n",
    "weir：已在额度 {} 处停止：已发出 {}，另有 {} 被拒绝。\n"};
constexpr Words kDone{"weir: done: {1} of at most {0} left this machine.\n",
                      "weir：完成：共发出 {1}，额度为 {0}。\n"};
constexpr Words kByRule{
    "weir: stopped by a rule of the policy: at most {1} left this machine; the limit is {0}.\n",
    "weir：被策略规则阻止：最多发出 {1}；额度为 {0}。\n"};
constexpr Words kRule{"      Rule {} stopped it. {}\n", "      规则 {} 已阻止。{}\n"};
constexpr Words kSaid{"      Rule {} is about it. {}\n", "      适用规则 {}。{}\n"};
constexpr Words kMoreSaid{"      … and {} more reports\n", "      ……另有 {} 份报告\n"};
constexpr Words kWindow{"      The limit is for any {} h: half of it may leave at once.\n",
                        "      额度按任意 {} 小时计算，其中一半可一次发出。\n"};
constexpr Words kNothing{"      Nothing was sent to any address.\n",
                         "      没有向任何地址发送数据。\n"};
constexpr Words kHeader{"      {:>10} {:>10} {:>10}  where to\n",
                        "      {:>8} {:>8} {:>8}  去向\n"};
constexpr Words kOut{"sent", "已发送"};
constexpr Words kIn{"received", "已接收"};
constexpr Words kRefused{"refused", "已拒绝"};
constexpr Words kMore{"      … and {} more places\n", "      ……另有 {} 个去向\n"};
constexpr Words kWorth{
    "      Well compressed, {} hold at most about {} full customer records (name, phone, identity\n"
    "      number, address). What was in them was not looked at.\n",
    "      {} 经高度压缩最多约可容纳 {} "
    "条完整客户记录（姓名、电话、证件号、地址）。内容未被查看。\n"};

std::string grouped(std::uint64_t number) {  // 10,212
  std::string text = fmt::format("{}", number);
  for (std::size_t at = text.size(); at > 3; at -= 3) text.insert(at - 3, ",");
  return text;
}

// Where the name came from the wire: it may hold anything, the terminal gets printing ASCII only.
std::string printable(const std::string& name) {
  std::string text;
  for (unsigned char c : name) text += c > 0x20 && c < 0x7f ? static_cast<char>(c) : '?';
  return text;
}

std::string places_text(const ExecSummary& summary, Language language) {
  if (summary.places.empty()) return kNothing.in(language);
  std::string text = fmt::format(fmt::runtime(kHeader.in(language)), kOut.in(language),
                                 kIn.in(language), kRefused.in(language));
  std::size_t shown = std::min(summary.places.size(), kShownPlaces);
  for (const ExecPlace& place : std::span(summary.places).first(shown)) {
    text += fmt::format("      {:>10} {:>10} {:>10}  {}{}{}{}\n", human_bytes(place.bytes_out),
                        human_bytes(place.bytes_in), human_bytes(place.bytes_refused),
                        place.endpoint.text(), place.transport == Transport::udp ? "/udp" : "",
                        place.name.empty() ? "" : "  ", printable(place.name));
  }
  std::size_t more = summary.places.size() - shown + summary.places_dropped;
  if (more > 0) text += fmt::format(fmt::runtime(kMore.in(language)), more);
  return text;
}

std::string reports_text(const ExecSummary& summary, Language language) {
  std::string text;
  std::size_t shown = 0;
  for (bool stopped : {true, false})
    for (const ExecReport& report : summary.reports) {
      if (report.stopped != stopped || report.rule.empty() || shown == kShownReports) continue;
      ++shown;
      std::string why = report.because.empty() ? "" : explain(report.because.front(), language);
      text += fmt::format(fmt::runtime((stopped ? kRule : kSaid).in(language)),
                          printable(report.rule), why);
    }
  std::size_t all = 0;
  for (const ExecReport& report : summary.reports) all += report.rule.empty() ? 0 : 1;
  if (all > shown) text += fmt::format(fmt::runtime(kMoreSaid.in(language)), all - shown);
  return text;
}

}  // namespace

std::uint64_t customers_at_most(std::uint64_t bytes) {
  return bytes / 65536 * kRecordsPer64KiB + bytes % 65536 * kRecordsPer64KiB / 65536;
}

std::string text_of(const ExecSummary& summary, Language language) {
  const Words& first = summary.bytes_refused > 0 ? kStopped : summary.stopped ? kByRule : kDone;
  std::string text =
      fmt::format(fmt::runtime(first.in(language)), human_bytes(summary.limit),
                  human_bytes(summary.bytes_out), human_bytes(summary.bytes_refused));
  if (summary.window_ns > 0)
    text += fmt::format(fmt::runtime(kWindow.in(language)), summary.window_ns / kHourNs);
  text += places_text(summary, language);
  if (summary.bytes_out > 0)
    text += fmt::format(fmt::runtime(kWorth.in(language)), human_bytes(summary.bytes_out),
                        grouped(customers_at_most(summary.bytes_out)));
  text += reports_text(summary, language);
  for (const Reason& note : summary.notes)
    text += fmt::format("      {}\n", explain(note, language));
  return text;
}

}  // namespace weir
