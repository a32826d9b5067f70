// Exceptions in force, and what persons are told: see exceptions.h.
#include "agent/guard/exceptions.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "core/base/fixed_text.h"

namespace weir {
namespace {

using wire::CommandRefusal;

constexpr std::uint64_t kSecondNs = 1'000'000'000;

NextTable refused(CommandRefusal why, std::string words = "") {
  return {why, std::move(words), std::nullopt};
}

bool is_sound(const HeldLease& one) {
  return one.number != 0 && one.pad == 0 && one.request.back() == '\0' && is_sound(one.what) &&
         one.what.bytes <= kMostExceptionBytes;
}

bool is_sound(const RequestAnswer& one) {
  const bool refused = one.outcome == RequestAnswer::refused;
  return one.outcome >= RequestAnswer::approved && one.outcome <= RequestAnswer::refused &&
         (one.why != 0) == refused && one.why < wire::kCommandRefusals &&
         one.request.back() == '\0' && one.words.back() == '\0';
}

bool is_sound(const HostIsolation& one) {
  return one.holds <= 1 && one.lease_s <= kLongestIsolation_s && one.asked.back() == '\0';
}

std::string_view unknown_rule(const ExceptionReading& what, const FlatPolicy& policy) {
  for (std::uint32_t n = 0; n < what.rules; ++n)
    if (!policy.has_rule(what.rule[n].data())) return what.rule[n].data();
  return {};
}

bool is_same_place(const ExceptionReading& a, const ExceptionReading& b) {
  return a.person == b.person && a.domain == b.domain && a.address == b.address &&
         a.length == b.length;
}

// Its person is told that it holds no longer.
void end_answer(ExceptionTable& table, const HeldLease& lease, const Now& at) {
  for (RequestAnswer& answer : table.answer)
    if (answer.request == lease.request && answer.outcome == RequestAnswer::approved)
      answer.until_wall_s = std::min(answer.until_wall_s, at.wall_s);
}

std::uint32_t free_number(const ExceptionTable& table) {
  std::uint32_t number = table.last_number;
  do {
    if (++number == 0) ++number;
  } while (table.holds(number));
  return number;
}

NextTable except(const ExceptionTable& now, const CommandReading& command, const FlatPolicy& policy,
                 const Now& at) {
  const ExceptionReading& what = command.exception;
  std::int64_t until = what.until_wall_s != 0 ? what.until_wall_s : at.wall_s + command.lease_s;
  if (command.lease_s != 0) until = std::min(until, at.wall_s + command.lease_s);
  if (until <= at.wall_s) return refused(CommandRefusal::expired);
  if (until - at.wall_s > kLongestException_s)
    return refused(CommandRefusal::over_ceiling, "an exception ends within 24 h");
  if (what.bytes > kMostExceptionBytes)
    return refused(CommandRefusal::over_ceiling, "an exception is for at most 4 GiB");
  if (policy.header->enforce == 0)
    return refused(CommandRefusal::failed, "its policy only observes: nothing is to be set aside");
  if (std::string_view rule = unknown_rule(what, policy); !rule.empty())
    return refused(CommandRefusal::unknown_rule, std::string(rule));
  const bool by_name = what.domain.front() != '\0';
  if (by_name && policy.header->proves_names == 0)
    return refused(CommandRefusal::unprovable, what.domain.data());
  NextTable next{CommandRefusal::none, "", now};
  if (by_name && what.proven == 0) next.note = CommandRefusal::name_unproven;
  ExceptionTable& table = *next.table;
  // One for the same person and place takes the place of the one before.
  for (const HeldLease& lease : now.in_force())
    if (is_same_place(lease.what, what) || lease.id == command.id) {
      table.remove(lease.number);
      end_answer(table, lease, at);
    }
  if (table.leases >= table.lease.size()) return refused(CommandRefusal::exceptions_full);
  HeldLease& lease = table.lease[table.leases];
  lease = HeldLease();
  lease.number = table.last_number = free_number(table);
  ++table.leases;
  lease.id = command.id;
  lease.request = what.request;
  lease.until_wall_s = until;
  lease.until_boot_ns = at.boot_ns + static_cast<std::uint64_t>(until - at.wall_s) * 1'000'000'000;
  lease.what = what;
  if (what.request.front() == '\0') return next;
  RequestAnswer answer{what.request, RequestAnswer::approved, 0, at.wall_s, until, what.bytes, {}};
  answer.words = command.asked;
  table.tell(answer);
  return next;
}

// One takes the place of the one before: longer, shorter, or for another reason.
NextTable isolate(const ExceptionTable& now, const CommandReading& command, const Now& at) {
  if (command.lease_s > kLongestIsolation_s)
    return refused(CommandRefusal::over_ceiling, "an isolation ends within 4 h");
  NextTable next{CommandRefusal::none, "", now};
  HostIsolation& isolation = next.table->isolation;
  isolation = {command.id,      1,
               command.lease_s, at.boot_ns + std::uint64_t{command.lease_s} * kSecondNs,
               at.boot,         at.wall_s + command.lease_s,
               command.asked};
  return next;
}

NextTable undo(const ExceptionTable& now, const CommandReading& command, const Now& at) {
  if (now.isolation.holds != 0 && now.isolation.id == command.lease) {
    NextTable next{CommandRefusal::none, "", now};
    next.table->isolation = {};
    return next;
  }
  if (now.release.now.holds != 0 && now.release.now.id == command.lease) {
    NextTable next{CommandRefusal::none, "", now};
    next.table->release.now = {};
    return next;
  }
  if (const HeldBlock* block = now.blocks.find(command.lease)) {
    NextTable next{CommandRefusal::none, "", now};
    next.table->blocks.remove(block->slot);
    return next;
  }
  const auto held = std::ranges::find(now.in_force(), command.lease, &HeldLease::id);
  if (held == now.in_force().end()) return refused(CommandRefusal::no_lease);
  NextTable next{CommandRefusal::none, "", now};
  next.table->remove(held->number);
  end_answer(*next.table, *held, at);
  return next;
}

NextTable deny(const ExceptionTable& now, const CommandReading& command, const Now& at) {
  NextTable next{CommandRefusal::none, "", now};
  RequestAnswer answer{command.exception.request, RequestAnswer::denied, 0, at.wall_s, 0, 0, {}};
  answer.words = command.asked;
  next.table->tell(answer);
  return next;
}

// Who asked hears that it was approved and is not to be had here; unless they have an answer that
// counts: the command may be one that was done before.
void tell_refused(const ExceptionTable& now, const CommandReading& command, const Now& at,
                  NextTable& next) {
  const auto& request = command.exception.request;
  if (command.verb != kExceptVerb || request.front() == '\0') return;
  for (const RequestAnswer& one : now.told())
    if (one.request == request && one.outcome != RequestAnswer::refused) return;
  RequestAnswer answer{
      request, RequestAnswer::refused, static_cast<std::uint32_t>(next.why), at.wall_s, 0, 0, {}};
  put_text(answer.words, next.words);
  next.table = now;
  next.table->tell(answer);
}

}  // namespace

ExceptionTable ExceptionTable::none() {
  ExceptionTable table;
  table.magic = kExceptionMagic;
  return table;
}

ExceptionTable ExceptionTable::lost() {
  ExceptionTable table = none();
  table.isolation.holds = 1;
  table.isolation.lease_s = kLongestIsolation_s;
  table.blocks.lost = 1;
  return table;
}

std::uint64_t isolated_until(const HostIsolation& isolation, const Now& at,
                             std::optional<std::uint64_t> in_kernel) {
  if (isolation.holds == 0) return 0;
  return left_until(
      {isolation.lease_s, isolation.until_boot_ns, isolation.boot, isolation.until_wall_s}, at,
      in_kernel);
}

Result<ExceptionTable> ExceptionTable::read(Bytes bytes) {
  ExceptionTable table;
  constexpr std::size_t kFirstSize = offsetof(ExceptionTable, isolation),
                        kSecondSize = offsetof(ExceptionTable, release),
                        kThirdSize = offsetof(ExceptionTable, blocks),
                        kFourthSize = offsetof(ExceptionTable, places);
  if (bytes.size() != sizeof table && bytes.size() != kFirstSize && bytes.size() != kSecondSize &&
      bytes.size() != kThirdSize && bytes.size() != kFourthSize)
    return fail("a table of exceptions of another size");
  std::memcpy(&table, bytes.data(), bytes.size());
  const std::uint32_t magic = bytes.size() == kFirstSize    ? kFirstExceptionMagic
                              : bytes.size() == kSecondSize ? kSecondExceptionMagic
                              : bytes.size() == kThirdSize  ? kThirdExceptionMagic
                              : bytes.size() == kFourthSize ? kFourthExceptionMagic
                                                            : kExceptionMagic;
  if (table.magic != magic || table.leases > kMaxExceptions || table.answers > kMaxAnswers)
    return fail("no table of exceptions");
  table.magic = kExceptionMagic;
  for (const HeldLease& one : table.in_force())
    if (!is_sound(one)) return fail("an exception that is none");
  if (!is_sound(table.isolation)) return fail("an isolation that is none");
  if (!is_sound(table.release)) return fail("a release that is none");
  if (!is_sound(table.blocks) || table.places.count > BlockedPlaces::kMax || table.places.pad != 0)
    return fail("a block that is none");
  for (const BlockedPlace& one : table.places.all())
    if (!is_sound(one)) return fail("a blocked place that is none");
  for (const RequestAnswer& one : table.told())
    if (!is_sound(one)) return fail("an answer to a request that is none");
  return table;
}

Bytes ExceptionTable::bytes() const {
  return {reinterpret_cast<const std::uint8_t*>(this), sizeof *this};
}

bool ExceptionTable::holds(std::uint32_t number) const {
  return std::ranges::find(in_force(), number, &HeldLease::number) != in_force().end();
}

bool ExceptionTable::is_of_another(std::uint32_t number, std::uint32_t person) const {
  const auto held = std::ranges::find(in_force(), number, &HeldLease::number);
  return held != in_force().end() && held->what.person != person;
}

bool ExceptionTable::remove(std::uint32_t number) {
  for (std::uint32_t n = 0; n < leases; ++n)
    if (lease[n].number == number) {
      lease[n] = lease[--leases];
      lease[leases] = {};
      return true;
    }
  return false;
}

void ExceptionTable::tell(const RequestAnswer& one) {
  std::uint32_t n = 0;
  while (n < answers && answer[n].request != one.request) ++n;
  if (n == answers) n = std::min<std::uint32_t>(answers++, kMaxAnswers - 1);
  answers = std::min<std::uint32_t>(answers, kMaxAnswers);
  std::copy_backward(answer.begin(), answer.begin() + n, answer.begin() + n + 1);
  answer[0] = one;
}

void ExceptionTable::tell_refused(const ExceptionTable& next, CommandRefusal why,
                                  std::string_view words) {
  if (next.answers == 0) return;
  RequestAnswer newest = next.answer[0];
  const auto before = std::ranges::find(told(), newest.request, &RequestAnswer::request);
  if (newest.outcome != RequestAnswer::approved ||
      (before != told().end() && before->outcome == newest.outcome &&
       before->at_wall_s == newest.at_wall_s))
    return;
  newest.outcome = RequestAnswer::refused;
  newest.why = static_cast<std::uint32_t>(why);
  newest.until_wall_s = 0;
  newest.bytes = 0;
  newest.words = {};
  put_text(newest.words, words);
  tell(newest);
}

NextTable next_exceptions(const ExceptionTable& now, const CommandReading& command,
                          const FlatPolicy& policy, const Now& at, CommandRefusal why) {
  if (command.verb == kExceptVerb) {
    NextTable next = why == CommandRefusal::none ? except(now, command, policy, at) : refused(why);
    if (next.why != CommandRefusal::none) tell_refused(now, command, at, next);
    return next;
  }
  if (why != CommandRefusal::none) return refused(why);
  if (command.verb == kIsolateVerb) return isolate(now, command, at);
  if (command.verb == kUndoVerb) return undo(now, command, at);
  if (command.verb == kDenyVerb) return deny(now, command, at);
  return refused(CommandRefusal::not_built);
}

std::string place_of(const ExceptionReading& what) {
  if (what.domain.front() != '\0') return what.domain.data();
  Prefix prefix;
  prefix.address.bytes = what.address;
  prefix.length = static_cast<std::uint8_t>(what.length);
  return prefix.length == 128 ? prefix.address.text() : prefix.text();
}

std::vector<Exception> exceptions_of(const ExceptionTable& table) {
  std::vector<Exception> all;
  for (const HeldLease& lease : table.in_force()) {
    Exception one;
    one.number = lease.number;
    one.person = lease.what.person;
    one.domain = lease.what.domain.data();
    one.prefix.address.bytes = lease.what.address;
    one.prefix.length = static_cast<std::uint8_t>(lease.what.length);
    for (std::uint32_t n = 0; n < lease.what.rules; ++n)
      one.sets_aside.emplace_back(lease.what.rule[n].data());
    one.bytes = lease.what.bytes;
    one.until_boot_ns = static_cast<std::int64_t>(lease.until_boot_ns);
    all.push_back(std::move(one));
  }
  // A block is to the line one that grants nothing.
  for (const HeldBlock& block : table.blocks.in_force()) {
    Exception one;
    one.number = block.slot + 1;
    one.person = block.what.everybody != 0 ? kNoPerson : block.what.person;
    one.domain = block.what.domain.data();
    one.prefix = place_of(block.what);
    one.until_boot_ns = static_cast<std::int64_t>(block.until_boot_ns);
    all.push_back(std::move(one));
  }
  // And where its name was seen: the same with an address.
  for (const BlockedPlace& place : table.places.all()) {
    const HeldBlock* block = table.blocks.find_name(place.name);
    if (block == nullptr) continue;
    Exception& one = all.emplace_back();
    one.number = block->slot + 1;
    one.person = block->what.everybody != 0 ? kNoPerson : block->what.person;
    one.domain = block->what.domain.data();
    one.prefix = {{place.address}, 128};
    one.until_boot_ns = static_cast<std::int64_t>(block->until_boot_ns);
  }
  return all;
}

}  // namespace weir
