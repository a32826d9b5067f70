// What became of a request, for who asked: what the guard has told, what the kernel holds now, and
// what a collector does with a request that nobody decides. See asked.h. Runs without rights.
#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <string_view>

#include "agent/guard/uplink_messages.h"
#include "agent/run/asked.h"
#include "core/policy/requests.h"
#include "proto/map/text.h"

namespace weir {
namespace {

// An approval is on the disk a moment before the kernel has its account.
constexpr std::int64_t kSoon_s = 2;

template <class... Args>
std::string say(Language language, std::string_view english, std::string_view chinese,
                const Args&... args) {
  return fmt::format(fmt::runtime(language == Language::chinese ? chinese : english), args...);
}

const RequestAnswer* answer_to(const AskedRequest& asked, const AskFacts& facts) {
  for (const RequestAnswer& one : facts.exceptions.told())
    if (std::string_view(one.request.data()) == asked.id.data()) return &one;
  return nullptr;
}

// Nothing: no exception of that request holds.
std::optional<GrantNow> grant_of(const RequestAnswer& answer, const AskFacts& facts) {
  for (const HeldLease& lease : facts.exceptions.in_force()) {
    if (lease.request != answer.request) continue;
    const GrantNow assumed{lease.number, lease.what.bytes, true, false};
    if (!facts.grants || facts.now_wall_s - answer.at_wall_s < kSoon_s) return assumed;
    for (const GrantNow& one : *facts.grants)
      if (one.number == lease.number && one.holds) return one;
  }
  return std::nullopt;
}

std::string state_of_approved(const RequestAnswer& answer, const AskFacts& facts,
                              Language language) {
  const std::string until = shown_time(answer.until_wall_s), words = shown(answer.words.data());
  if (answer.until_wall_s <= facts.now_wall_s)
    return say(language, "ended {}: was approved ({})", "已于 {} 结束：曾获批准（{}）", until,
               words);
  const std::optional<GrantNow> grant = grant_of(answer, facts);
  if (!grant)
    return say(language, "ended before its time: was approved until {} ({})",
               "已提前结束：曾获批准至 {}（{}）", until, words);
  const std::string bytes = human_bytes(answer.bytes, language);
  if (grant->used_up)
    return say(language, "used up: {} of {} were sent; ask again if you need more ({})",
               "已用完：已发送 {}，共 {}；如仍需要，请重新申请（{}）",
               human_bytes(answer.bytes - std::min(grant->left, answer.bytes), language), bytes,
               words);
  return say(language, "approved: {} until {} ({})", "已批准：{}，至 {}（{}）", bytes, until,
             words);
}

std::string state_of_refused(const RequestAnswer& answer, Language language) {
  Reason reason;
  reason.code = wire::code_of(static_cast<wire::CommandRefusal>(answer.why));
  if (answer.words.front() != '\0') reason.args.emplace_back(answer.words.data());
  return say(language, "not granted: it was approved, but this host refused: {}",
             "未生效：已获批准，但本机拒绝执行：{}", explain(reason, language));
}

// When it was answered; where it was not, when it ends by itself.
std::int64_t open_until(const AskedRequest& asked, const AskFacts& facts) {
  const RequestAnswer* answer = answer_to(asked, facts);
  const std::int64_t ends = asked.at_wall_s + kRequestOpen_s;
  return answer != nullptr ? std::min(answer->at_wall_s, ends) : ends;
}

// A collector keeps so many open. `at` is of `all`.
bool is_displaced(std::size_t at, std::span<const AskedRequest> all, const AskFacts& facts) {
  for (std::size_t last = at + 1; last < all.size(); ++last) {
    std::size_t of_person = 0, of_host = 0;
    for (std::size_t n = at + 1; n <= last; ++n) {
      if (all[n].host != all[at].host || open_until(all[n], facts) <= all[last].at_wall_s) continue;
      ++of_host;
      of_person += all[n].person == all[at].person ? 1 : 0;
    }
    if (of_person >= kMaxOpenOfPerson || of_host >= kMaxOpenOfHost) return true;
  }
  return false;
}

// The answers that are kept are all newer: one to this may have been among those before.
bool is_forgotten(const AskedRequest& asked, const AskFacts& facts) {
  const auto told = facts.exceptions.told();
  return told.size() == kMaxAnswers && std::ranges::all_of(told, [&](const RequestAnswer& one) {
           return one.at_wall_s >= asked.at_wall_s;
         });
}

}  // namespace

std::string shown_time(std::int64_t wall_s) {
  const auto time = static_cast<std::time_t>(wall_s);
  std::tm parts{};
  ::gmtime_r(&time, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M UTC", &parts);
  return text;
}

std::string state_of(const AskedRequest& asked, const AskFacts& facts, Language language) {
  if (const RequestAnswer* answer = answer_to(asked, facts)) {
    if (answer->outcome == RequestAnswer::denied)
      return say(language, "denied: {}", "已拒绝：{}", shown(answer->words.data()));
    if (answer->outcome == RequestAnswer::approved)
      return state_of_approved(*answer, facts, language);
    return state_of_refused(*answer, language);
  }
  if (asked.host != 0 && asked.host != facts.host)
    return say(language, "not granted: this host was enrolled anew since; ask again",
               "未批准：本机此后已重新注册；请重新申请");
  const auto all = facts.asked.all();
  const auto found = std::ranges::find(all, asked.id, &AskedRequest::id);
  const bool newer =
      found != all.end() && is_displaced(static_cast<std::size_t>(found - all.begin()), all, facts);
  const bool late = facts.now_wall_s >= asked.at_wall_s + kRequestOpen_s;
  if ((newer || late) && is_forgotten(asked, facts))
    return say(language, "over: the answer is not kept any longer", "已结束：答复已不再保留");
  if (newer)
    return say(language, "expired: newer requests took its place", "已失效：已被较新的申请取代");
  if (late)
    return say(language, "expired: nobody answered within {} days; ask again if you still need it",
               "已失效：{} 天内无人答复；如仍需要，请重新申请", kRequestOpen_s / 86'400);
  return say(language, "open: nobody has answered yet", "待处理：尚无答复");
}

}  // namespace weir
