// What persons ask the agent, checked and remembered: see asked.h.
#include "agent/run/asked.h"

#include <algorithm>
#include <cstring>

#include "core/base/sha256.h"
#include "core/policy/release.h"
#include "core/policy/signature.h"

namespace weir {
namespace {

constexpr std::int64_t kDayS = 24 * 3600;

struct FirstRequest {
  std::array<char, 40> id, report;
  std::uint32_t person, duration_s;
  std::int64_t at_wall_s;
  std::uint64_t bytes;
};
struct FirstTable {
  std::uint32_t magic, count;
  std::array<FirstRequest, kMaxAsked> request;
};

AskedTable read_first(Bytes bytes) {
  FirstTable first;
  std::memcpy(&first, bytes.data(), sizeof first);
  AskedTable table = AskedTable::none();
  if (first.magic != kFirstAskedMagic || first.count > kMaxAsked) return table;
  for (const FirstRequest& one : std::span(first.request).first(first.count)) {
    if (one.id.back() != '\0' || one.report.back() != '\0') return AskedTable::none();
    table.add({one.id, one.report, one.person, one.duration_s, one.at_wall_s, one.bytes, 0});
  }
  return table;
}

}  // namespace

std::uint64_t mark_of(std::string_view host_id) {
  std::uint64_t mark = 0;
  if (!host_id.empty()) std::memcpy(&mark, sha256(bytes_of(host_id)).data(), sizeof mark);
  return mark;
}

const char* damage_of(const AskMessage& message, std::size_t size) {
  if (size != sizeof message || message.magic != kAskMagic)
    return "this agent speaks another version";
  if ((message.flags & ~(kAskJson | kAskChinese)) != 0) return "an unknown flag";
  if (message.kind == AskKind::events)
    return message.days >= 1 && message.days <= kMaxEventDays ? "" : "between 1 and 90 days";
  if (message.kind == AskKind::challenge) return message.reason_size == 0 ? "" : "too much said";
  if (message.kind == AskKind::release)
    return message.reason_size > 0 && message.reason_size % kAnswerBytes == 0 &&
                   message.reason_size <= kAnswerBytes * kMaxPolicySignatures
               ? ""
               : "that is no answer to a challenge";
  if (message.kind == AskKind::holds) return "";
  if (message.kind != AskKind::request && message.kind != AskKind::answer)
    return "an unknown question";
  if (message.report.front() == '\0' || message.report.back() != '\0')
    return "that is no report's id";
  if (message.reason_size == 0) return "say why: --because TEXT";
  if (message.reason_size > message.reason.size()) return "the reason is too long";
  if (message.bytes > kMostExceptionBytes) return "an exception is for at most 4 GiB";
  if (message.duration_s > kLongestException_s) return "an exception lasts at most 24 hours";
  return "";
}

AskedTable AskedTable::none() {
  AskedTable table;
  table.magic = kAskedMagic;
  return table;
}

AskedTable AskedTable::read(Bytes bytes) {
  AskedTable table;
  if (bytes.size() == sizeof(FirstTable)) return read_first(bytes);
  if (bytes.size() != sizeof table) return none();
  std::memcpy(&table, bytes.data(), sizeof table);
  bool whole = table.magic == kAskedMagic && table.count <= kMaxAsked;
  for (const AskedRequest& one : std::span(table.request).first(whole ? table.count : 0))
    whole = whole && one.id.back() == '\0' && one.report.back() == '\0';
  return whole ? table : none();
}

Bytes AskedTable::bytes() const {
  return {reinterpret_cast<const std::uint8_t*>(this), sizeof *this};
}

void AskedTable::add(const AskedRequest& one) {
  if (count == kMaxAsked) {
    std::copy(request.begin() + 1, request.end(), request.begin());
    --count;
  }
  request[count++] = one;
}

std::size_t AskedTable::of_day(std::uint32_t person, std::int64_t now_wall_s) const {
  return static_cast<std::size_t>(std::ranges::count_if(all(), [&](const AskedRequest& one) {
    return one.person == person && one.at_wall_s > now_wall_s - kDayS &&
           one.at_wall_s <= now_wall_s + kDayS;
  }));
}

}  // namespace weir
