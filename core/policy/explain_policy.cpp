// A policy in plain words: what each rule is about and what it does.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "core/policy/explain.h"
#include "core/policy/explain_words.h"
#include "core/policy/words.h"

namespace weir {
namespace {

using Field = Condition::Field;
using Kind = Condition::Kind;

struct FieldWords {
  Field field;
  Words words;  // {} is the value or values
};
constexpr std::array<FieldWords, 14> kFields = {{
    {Field::label, {"the sender carries the label {}", "发送者带有标签 {}"}},
    {Field::weight, {"at least {} customers were read", "已读取至少 {} 位客户的数据"}},
    {Field::trust, {"the destination is {}", "去向属于 {}"}},
    {Field::upload_to, {"it goes to {}", "发往 {}"}},
    {Field::burst, {"{} or more are uploaded at once", "一次上传达到 {}"}},
    {Field::destination_domain, {"it goes to {} or below", "发往 {} 及其下级域名"}},
    {Field::destination_service, {"it goes to the service {}", "发往服务 {}"}},
    {Field::destination_cidr, {"it goes to the range {}", "发往网段 {}"}},
    {Field::destination_category, {"it goes to the category {}", "发往类别 {}"}},
    {Field::destination_approved, {"the destination is approved", "去向已获批准"}},
    {Field::detector, {"{} finds something", "{} 有所发现"}},
    {Field::program, {"the program is {}", "程序为 {}"}},
    {Field::person, {"the person is {}", "用户为 {}"}},
    {Field::channel, {"the protocol is {}", "协议为 {}"}},
}};

class Teller {
 public:
  Teller(const Policy& policy, Language language) : policy_(policy), language_(language) {}

  std::string tell() const {
    const bool observes = policy_.mode == Mode::observe;
    std::string text =
        say(observes ? Words{"{} observes: it decides and reports, and stops nothing.\n",
                             "{}：观察模式，只判断和报告，不阻止任何操作。\n"}
                     : Words{"{} enforces what its rules say.\n", "{}：执行其规则。\n"},
            printable(policy_.name));
    for (const Rule& rule : policy_.rules) text += tell(rule);
    if (policy_.rules.empty())
      text += say(
          Words{"It has no rules: every finding is reported.\n", "没有规则：所有发现都会报告。\n"});
    return text;
  }

 private:
  template <class... T>
  std::string say(const Words& words, const T&... values) const {
    return fmt::format(fmt::runtime(words.in(language_)), values...);
  }

  std::string list(const std::vector<std::string>& values, const Words& last) const {
    std::string text;
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (i > 0)
        text += i + 1 == values.size() ? last.in(language_) : Words{", ", "、"}.in(language_);
      text += printable(values[i]);
    }
    return text;
  }

  std::string leaf(const Condition& leaf) const {
    std::string value = list(leaf.values, {" or ", "或"});
    if (leaf.field == Field::burst) value = human_bytes(leaf.number, language_);
    if (leaf.field == Field::weight) value = fmt::format("{}", leaf.number);
    for (const FieldWords& field : kFields)
      if (field.field == leaf.field) return say(field.words, value);
    return "?";
  }

  std::string condition(const Condition& when, bool inner) const {
    if (when.kind == Kind::always) return std::string(Words{"always", "始终"}.in(language_));
    if (when.kind == Kind::leaf) return leaf(when);
    std::vector<std::string> parts;
    for (const auto& part : when.parts) parts.push_back(condition(part, true));
    if (when.kind == Kind::none)
      return say(Words{"not ({})", "不是（{}）"}, joined(parts, {" or ", "或"}));
    const bool all = when.kind == Kind::all;
    const std::string text = joined(parts, all ? Words{" and ", "且"} : Words{" or ", "或"});
    return inner && parts.size() > 1 ? say(Words{"({})", "（{}）"}, text) : text;
  }

  std::string joined(const std::vector<std::string>& parts, const Words& between) const {
    std::string text;
    for (const auto& part : parts)
      text += (text.empty() ? "" : std::string(between.in(language_))) + part;
    return text;
  }

  std::string limit(const Limit& limit) const {
    std::vector<std::string> what;
    if (limit.bytes) what.push_back(human_bytes(*limit.bytes, language_));
    if (limit.customers) what.push_back(say(Words{"{} customers", "{} 位客户"}, *limit.customers));
    const std::string amount = joined(what, {" and ", "和"});
    const auto seconds = static_cast<std::uint64_t>(limit.window_ns / 1'000'000'000);
    if (seconds == 0)
      return say(Words{"at most {} in all for each {}", "每个{1}总共最多 {0}"}, amount,
                 per_words(limit.per, language_));
    return say(Words{"at most {0} in any {2} for each {1}", "每个{1}在任意 {2}内最多 {0}"}, amount,
               per_words(limit.per, language_), human_seconds(seconds, language_));
  }

  std::string action(const Rule& rule) const {
    switch (rule.action) {
      case Action::allow:
        return say(Words{"set aside {}", "排除 {}"}, list(rule.excepts, {" and ", "和"}));
      case Action::log:
        return say(Words{"report it", "报告"});
      case Action::warn:
        return say(Words{"report it and tell the person", "报告并通知用户"});
      case Action::limit: {
        std::vector<std::string> limits;
        for (std::uint32_t row : rule.limits)
          if (row < policy_.limits.size()) limits.push_back(limit(policy_.limits[row]));
        return joined(limits, {", and ", "，且"});
      }
      case Action::hold:
        return hold(rule);
      case Action::block:
        return say(Words{"stop it", "阻止"});
      case Action::isolate:
        return say(Words{"cut this machine off, except from its administrators",
                         "隔离本机，仅管理员可连接"});
      case Action::unspecified:
        break;
    }
    return "?";
  }

  std::string hold(const Rule& rule) const {
    if (!rule.hold) return "?";
    const std::string time =
        human_seconds(static_cast<std::uint64_t>(rule.hold->for_ns / 1'000'000'000), language_);
    const bool block = rule.hold->otherwise == Action::block;
    return say(block
                   ? Words{"let it wait {} for an answer, then stop it", "等待答复 {}，否则阻止"}
                   : Words{"let it wait {} for an answer, then let it go", "等待答复 {}，否则放行"},
               time);
  }

  std::string tell(const Rule& rule) const {
    const std::string when = condition(rule.when, false);
    std::string text =
        rule.when.kind == Kind::always
            ? say(Words{"- {}: always {}.", "- {}：始终{}。"}, printable(rule.id), action(rule))
            : say(Words{"- {}: if {}: {}.", "- {}：如果{}：{}。"}, printable(rule.id), when,
                  action(rule));
    if (rule.severity != Severity::unspecified)
      text += say(Words{" (severity {})", "（严重程度 {}）"}, severity_name(rule.severity));
    return text + "\n";
  }

  const Policy& policy_;
  Language language_;
};

}  // namespace

std::string explain(const Policy& policy, Language language) {
  return Teller(policy, language).tell();
}

}  // namespace weir
