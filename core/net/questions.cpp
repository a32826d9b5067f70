// Open questions: see questions.h.
#include "core/net/questions.h"

#include "core/net/domain.h"

namespace weir {
namespace {

std::string key_of(std::uint64_t flow, const DnsMessage& message) {
  if (message.questions.size() != 1) return "";
  const DnsQuestion& question = message.questions[0];
  std::string key;
  const auto put = [&](std::uint64_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) key.push_back(static_cast<char>(value >> 8 * i & 0xff));
  };
  put(flow, 8);
  put(message.id, 2);
  put(question.type, 2);
  put(question.klass, 2);
  return key + normal_host(question.name);  // the letters' case may be a nonce of the asker's
}

}  // namespace

void Questions::asked(std::uint64_t flow, const DnsMessage& question, std::int64_t now_ns) {
  std::string key = key_of(flow, question);
  if (question.response || key.empty()) return;
  const std::int64_t until = now_ns + kPatienceNs;
  open_[key] = until;
  ages_.emplace_back(until, std::move(key));
  while (!ages_.empty() && (ages_.front().first < now_ns || ages_.size() > kMaxOpen)) {
    const auto& [end, oldest] = ages_.front();
    const auto known = open_.find(oldest);
    if (known != open_.end() && known->second == end) {
      if (end >= now_ns) ++dropped_;
      open_.erase(known);
    }
    ages_.pop_front();
  }
}

bool Questions::answers(std::uint64_t flow, const DnsMessage& answer, std::int64_t now_ns) {
  if (!answer.response) return false;
  const auto known = open_.find(key_of(flow, answer));
  if (known == open_.end()) return false;
  const bool in_time = known->second >= now_ns;
  open_.erase(known);
  return in_time;
}

}  // namespace weir
