// DNS questions that left and were not answered yet. An answer counts only for one of them: same
// flow, id, name, type and class; and only once. Thread: the line's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <unordered_map>
#include <utility>

#include "core/net/dns.h"

namespace weir {

class Questions {
 public:
  static constexpr std::size_t kMaxOpen = 8192;  // some ms of a flood; the oldest gives way
  // A stub tries for up to 25 s with questions of its own; each of them waits for 5 to 10.
  static constexpr std::int64_t kPatienceNs = 15'000'000'000;

  void asked(std::uint64_t flow, const DnsMessage& question, std::int64_t now_ns);
  bool answers(std::uint64_t flow, const DnsMessage& answer, std::int64_t now_ns);
  std::uint64_t dropped() const { return dropped_; }

 private:
  std::unordered_map<std::string, std::int64_t> open_;     // until when
  std::deque<std::pair<std::int64_t, std::string>> ages_;  // as asked, oldest first
  std::uint64_t dropped_ = 0;
};

}  // namespace weir
