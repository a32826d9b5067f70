// `weir release`: the challenge that this host shows, and what becomes of an answer. See asked.h
// and docs/decisions/0032. Opens STATE/challenge; what a caller said is handed to the guard unread.
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <optional>
#include <string_view>

#include "agent/guard/keeping.h"
#include "agent/run/asked.h"
#include "core/base/spoken.h"
#include "core/policy/release.h"
#include "platform/files/small_file.h"
#include "platform/linux/boot_clock.h"
#include "platform/linux/boot_id.h"

namespace weir {
namespace {

constexpr std::uint32_t kDone = 0, kFailed = 1, kNotAllowed = 4;
constexpr std::uint64_t kSecondNs = 1'000'000'000;
constexpr int kReplyMs = 15'000;  // two syncs of a slow disk; the keeper gives up after 10 s
constexpr const char* kFile = "challenge";

// STATE/challenge: the one that is shown now.
struct Shown {
  std::uint32_t magic = 0, expires_boot_s = 0;
  std::array<std::uint8_t, 8> nonce{};
  std::array<std::uint8_t, 16> boot{};
};
constexpr std::uint32_t kShownMagic = 0x31434857;  // "WHC1"

std::uint32_t boot_s() {
  return static_cast<std::uint32_t>(boot_now_ns() / kSecondNs);
}

std::optional<Shown> shown_now(int state) {
  Fd file(::openat(state, kFile, O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  Shown one;
  if (!file || ::pread(file.get(), &one, sizeof one, 0) != sizeof one || one.magic != kShownMagic ||
      one.boot != boot_id() || one.expires_boot_s <= boot_s())
    return std::nullopt;
  return one;
}

std::string host_of(int state) {
  Fd file(::openat(state, kKeptFileNames[2], O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  std::string text(kMaxTrustBytes, '\0');
  const ssize_t got = file ? ::pread(file.get(), text.data(), text.size(), 0) : 0;
  text.resize(static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  const Result<PolicyTrust> trust = read_trust(text);
  return trust ? trust->host : "";
}

// The one of before while half of its time is left: who reads it aloud is not overtaken by who asks
// once more.
Result<Shown> challenge(int state) {
  if (std::optional<Shown> one = shown_now(state);
      one && one->expires_boot_s - boot_s() > kChallengeS / 2)
    return *one;
  Shown next{kShownMagic, boot_s() + kChallengeS, {}, boot_id()};
  if (::getrandom(next.nonce.data(), next.nonce.size(), 0) !=
      static_cast<ssize_t>(next.nonce.size()))
    return fail("nothing can be drawn at random now");
  const std::string text(reinterpret_cast<const char*>(&next), sizeof next);
  if (auto kept = replace_file(state, kFile, text); !kept) return tl::unexpected(kept.error());
  return next;
}

std::string_view either(const AskMessage& message, std::string_view english,
                        std::string_view chinese) {
  return (message.flags & kAskChinese) != 0 ? chinese : english;
}

AskAnswer show(const AskMessage& message, const AskServer& server) {
  const std::string host = host_of(server.state);
  if (host.empty())
    return {kFailed, "STATE/trust does not say which host this is: enrol it anew\n", ""};
  Result<Shown> one = challenge(server.state);
  if (!one) return {kFailed, one.error().sentence + "\n", ""};
  const ReleaseChallenge wanted{host_mark(host), boot_mark(one->boot), one->nonce,
                                one->expires_boot_s};
  return {kDone,
          fmt::format(
              fmt::runtime(either(
                  message,
                  "Read this to your help desk. Its answer has this host only observe for {} "
                  "hours, and ends its isolation:\n\n{}\n\nThis is host {} (mark {}). The "
                  "challenge ends in {} minutes, and when this host is started again.\n"
                  "`weir release --answer -` takes the answer.\n",
                  "请把以下内容读给服务台。其答复将使本机在 {} 小时内只观察，并解除隔离：\n\n{}\n\n"
                  "本机为 {}（标记 {}）。质询码在 {} 分钟后或本机重启后失效。\n"
                  "用 `weir release --answer -` 输入答复。\n")),
              kReleaseS / 3'600, spoken(bytes_of(wanted), 5), host, text_of_mark(wanted.host),
              (one->expires_boot_s - boot_s()) / 60),
          ""};
}

std::string_view sentence_of(ReleaseRefusal why, const AskMessage& message) {
  switch (why) {
    case ReleaseRefusal::no_host:
      return either(message, "STATE/trust does not say which host this is: enrol it anew",
                    "STATE/trust 未说明本机身份：请重新注册");
    case ReleaseRefusal::expired:
      return either(message, "the challenge has ended: `weir release` shows another",
                    "质询码已失效：`weir release` 会显示新的");
    case ReleaseRefusal::used:
      return either(message, "the challenge was answered before: `weir release` shows another",
                    "该质询码已用过：`weir release` 会显示新的");
    case ReleaseRefusal::wrong_answer:
      return either(message,
                    "that is no answer to the challenge that this host shows now, or by a key that "
                    "does not count here",
                    "这不是本机当前质询码的答复，或签名密钥在本机无效");
    case ReleaseRefusal::threshold:
      return either(message, "more keys have to answer: give each answer by --answer",
                    "需要更多密钥答复：请用多个 --answer 提供");
    case ReleaseRefusal::ceiling:
      return either(message, "this host was released three times within 24 hours: not once more",
                    "本机 24 小时内已解除三次：不再允许");
    case ReleaseRefusal::none:
    case ReleaseRefusal::damaged:
    case ReleaseRefusal::failed:
      break;
  }
  return either(message, "the agent could not do it: its log says why (journalctl -u weir)",
                "代理未能执行：原因见日志（journalctl -u weir）");
}

// What the guard says to it; nothing: it says nothing. Others wait at the lock, so the answer is to
// us, or to one who went before.
std::optional<ReleaseReply> ask_guard(int line, ReleaseClaim& claim) {
  if (::getrandom(&claim.number, sizeof claim.number, 0) != sizeof claim.number)
    return std::nullopt;
  claim.number |= 1;  // never 0
  if (::send(line, &claim, sizeof claim, MSG_DONTWAIT | MSG_NOSIGNAL) != sizeof claim)
    return std::nullopt;
  const std::uint64_t until = boot_now_ns() + kReplyMs * 1'000'000ull;
  for (std::uint64_t now = boot_now_ns(); now < until; now = boot_now_ns()) {
    pollfd wanted{line, POLLIN, 0};
    if (::poll(&wanted, 1, static_cast<int>((until - now) / 1'000'000 + 1)) != 1) break;
    ReleaseReply reply;
    if (::recv(line, &reply, sizeof reply, MSG_DONTWAIT) == sizeof reply &&
        reply.number == claim.number)
      return reply;
  }
  return std::nullopt;
}

AskAnswer take(const AskMessage& message, const AskServer& server) {
  const std::optional<Shown> one = shown_now(server.state);
  if (!one)
    return {kNotAllowed, fmt::format("{}\n", sentence_of(ReleaseRefusal::expired, message)), ""};
  ReleaseClaim claim;
  claim.magic = kClaimMagic;
  claim.nonce = one->nonce;
  claim.expires_boot_s = one->expires_boot_s;
  claim.answers = message.reason_size / kAnswerBytes;
  std::memcpy(claim.answer.data(), message.reason.data(), message.reason_size);
  const std::optional<ReleaseReply> reply = ask_guard(server.releases, claim);
  if (!reply)
    return {kFailed,
            fmt::format("{}\n", either(message, "the guard does not answer; try again",
                                       "守护进程没有应答；请重试")),
            ""};
  const auto why = reply->refusal < kReleaseRefusals ? static_cast<ReleaseRefusal>(reply->refusal)
                                                     : ReleaseRefusal::failed;
  if (why != ReleaseRefusal::none)
    return {kNotAllowed, fmt::format("{}\n", sentence_of(why, message)), ""};
  (void)::unlinkat(server.state, kFile, 0);
  return {
      kDone,
      fmt::format(fmt::runtime(either(
                      message,
                      "This host only observes for {} hours from now on. What leaves is counted "
                      "and reported as before; then its policy is enforced again by itself.\n",
                      "本机从现在起 {} 小时内只观察。发出的数据照常计量和报告；之后自动恢复策略"
                      "执行。\n")),
                  reply->lasts_s / 3'600),
      ""};
}

}  // namespace

AskAnswer answer_release(const AskMessage& message, const AskServer& server) {
  if (server.releases < 0)
    return {kNotAllowed,
            "this host reports to no collector, so nobody could answer: root ends what holds after "
            "the agent by `weir release --pin DIR`\n",
            ""};
  // One at a time: what the guard says is for one.
  Fd lock(::openat(server.state, "release.lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!lock || ::flock(lock.get(), LOCK_EX) != 0)
    return {kFailed, "the agent can't write to its folder\n", ""};
  return message.kind == AskKind::release ? take(message, server) : show(message, server);
}

}  // namespace weir
