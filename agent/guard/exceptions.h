// Exceptions in force on this host, whether it is isolated or released, and what persons are told
// of their requests: a fixed table that `weir run` keeps as STATE/exceptions before any of it
// counts, that the engine gets as sealed memory, and that `weir my-events` and `weir status` read.
// Pure; native byte order (it never leaves its host).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/guard/blocks.h"
#include "agent/guard/flat_policy.h"
#include "agent/guard/release.h"
#include "agent/guard/signed_reading.h"
#include "core/base/bytes.h"
#include "core/base/result.h"
#include "core/policy/exceptions.h"

namespace weir {

inline constexpr std::size_t kMaxRequestId = 32;
// Shorter prefixes would be half a provider; the same as for what the engine may name.
inline constexpr std::uint32_t kShortestException = 48, kShortestExceptionV4 = 96 + 24;
// What persons are told stands this many answers long; a desk gets a few a week.
inline constexpr std::size_t kMaxAnswers = 64;

struct HeldLease {
  wire::CommandId id{};  // of its command: the lease's id
  std::array<char, kMaxRequestId + 8> request{};
  std::uint32_t number = 0;  // of its account in the kernel
  std::uint32_t pad = 0;
  std::int64_t until_wall_s = 0;
  std::uint64_t until_boot_ns = 0;
  ExceptionReading what;
};

struct RequestAnswer {
  // refused: it was approved, and this host could not take it.
  enum Outcome : std::uint32_t { approved = 1, denied = 2, refused = 3 };
  std::array<char, kMaxRequestId + 8> request{};
  std::uint32_t outcome = 0;
  std::uint32_t why = 0;  // wire::CommandRefusal of what was refused, `words` is its argument
  std::int64_t at_wall_s = 0, until_wall_s = 0;
  std::uint64_t bytes = 0;
  std::array<char, 96> words{};  // who, and why
};

// Nothing leaves the host (a command `isolate`).
struct HostIsolation {
  wire::CommandId id{};  // of its command: the lease's id
  std::uint32_t holds = 0;
  std::uint32_t lease_s = 0;        // no boot adds more than that
  std::uint64_t until_boot_ns = 0;  // counts in this boot; 0: the table was lost …
  std::array<std::uint8_t, 16> boot{};
  std::int64_t until_wall_s = 0;  // … and this in every other
  std::array<char, 96> asked{};   // who, and why
};
inline constexpr std::uint32_t kLongestIsolation_s = 4 * 3600;

struct ExceptionTable {
  std::uint32_t magic = 0, leases = 0, answers = 0;
  std::uint32_t last_number = 0;
  std::array<HeldLease, kMaxExceptions> lease{};
  std::array<RequestAnswer, kMaxAnswers> answer{};  // newest first
  HostIsolation isolation;
  ReleaseState release;
  BlockTable blocks;
  BlockedPlaces places;

  static ExceptionTable none();
  // In the place of one that is lost: an isolation that the kernel still has goes on, and so do
  // blocks.
  static ExceptionTable lost();
  // An Error: it is not whole. Every field was checked then.
  static Result<ExceptionTable> read(Bytes bytes);
  Bytes bytes() const;
  std::span<const HeldLease> in_force() const { return std::span(lease).first(leases); }
  std::span<const RequestAnswer> told() const { return std::span(answer).first(answers); }
  bool holds(std::uint32_t number) const;
  bool is_of_another(std::uint32_t number, std::uint32_t person) const;  // and holds
  bool remove(std::uint32_t number);
  void tell(const RequestAnswer& one);  // the oldest gives way
  // Who was to hear in `next` that a request is approved hears that this host could not.
  void tell_refused(const ExceptionTable& next, wire::CommandRefusal why, std::string_view words);
};
inline constexpr std::uint32_t kExceptionMagic = 0x35584557;        // "WEX5"
inline constexpr std::uint32_t kFourthExceptionMagic = 0x34584557;  // "WEX4": without `places`
inline constexpr std::uint32_t kThirdExceptionMagic = 0x33584557;   // "WEX3": without `blocks`
inline constexpr std::uint32_t kSecondExceptionMagic = 0x32584557;  // "WEX2": without `release`
inline constexpr std::uint32_t kFirstExceptionMagic = 0x31584557;   // "WEX1": without `isolation`

// Boot time until which the host is isolated, 0: it is not. `in_kernel`: what a guard of this boot
// has put there; nothing: none has. A clock that was set changes nothing while a boot lasts; over
// a reboot it can end it early, or add one lease.
std::uint64_t isolated_until(const HostIsolation& isolation, const Now& at,
                             std::optional<std::uint64_t> in_kernel);

// The table after a command that the guard does itself (isolate, except, undo, deny_request), or
// why it is not done; then a table only where somebody has to be told so. Signature, host and times
// of the command were checked before: `refused` is what that came to.
struct NextTable {
  wire::CommandRefusal why = wire::CommandRefusal::none;
  std::string words;
  std::optional<ExceptionTable> table;
  wire::CommandRefusal note = wire::CommandRefusal::none;  // what is told of one that is done
};
NextTable next_exceptions(const ExceptionTable& now, const CommandReading& command,
                          const FlatPolicy& policy, const Now& at,
                          wire::CommandRefusal refused = wire::CommandRefusal::none);

std::string place_of(const ExceptionReading& what);  // its name, address or range, for people

// As the line takes them.
std::vector<Exception> exceptions_of(const ExceptionTable& table);

}  // namespace weir
