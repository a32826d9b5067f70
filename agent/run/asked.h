// `weir my-events`, `weir request`, `weir answer`, `weir release` and a person's own `weir status`:
// what one may ask the running agent beside `weir exec`, over the same socket. The caller's process
// connects, the kernel says who it is, and only that person's own reports are looked at, by a child
// without rights. STATE/requests is what was asked.
//
//   caller → agent   AskMessage                agent → caller   text in pieces, then AskEnd
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/guard/exceptions.h"
#include "agent/guard/held_flows.h"
#include "agent/run/process.h"
#include "core/base/bytes.h"
#include "core/base/result.h"
#include "core/event/address.h"
#include "core/policy/explain.h"
#include "platform/linux/kernel_part.h"

namespace weir {

inline constexpr std::uint32_t kAskMagic = 0x31534157;  // "WAS1": changes with the layout
// challenge, release: `weir release`; of the latter `reason` is the answers, 64 bytes each.
enum class AskKind : std::uint32_t {
  events = 1,
  request = 2,
  challenge = 3,
  release = 4,
  holds = 5,
  answer = 6
};
inline constexpr std::uint32_t kAskJson = 1, kAskChinese = 2;
inline constexpr std::size_t kMaxReason = 1000;     // characters, of at most four bytes each
inline constexpr std::uint32_t kMaxEventDays = 90;  // reports are kept as long
// Of one person: what a collector keeps open of one. Who needs more should talk to somebody.
inline constexpr std::size_t kMaxRequestsADay = 8;
inline constexpr std::size_t kMaxAskText = 4u << 20;  // of an answer

struct AskMessage {
  std::uint32_t magic = kAskMagic;
  AskKind kind = AskKind::events;
  std::uint32_t flags = 0;
  std::uint32_t days = 0;        // of events
  std::uint64_t bytes = 0;       // asked for; 0: as much as the rule's limit again
  std::uint32_t duration_s = 0;  // asked for
  std::uint32_t reason_size = 0;
  std::array<char, 40> report{};  // its id; of an answer: the id of what waits
  std::array<char, 4 * kMaxReason> reason{};
};

struct AskEnd {
  std::uint32_t magic = kAskMagic;
  std::uint32_t status = 0;  // exit status, see agent/cli/commands.h
};

// What is wrong with a message, "" for nothing. Pure.
const char* damage_of(const AskMessage& message, std::size_t size);

// STATE/requests, newest last.
struct AskedRequest {
  std::array<char, 40> id{}, report{};
  std::uint32_t person = 0, duration_s = 0;
  std::int64_t at_wall_s = 0;
  std::uint64_t bytes = 0;
  std::uint64_t host = 0;  // mark_of() the host that asked
};
// Of a host's id, so that what was asked before it was enrolled anew is known. 0: not known.
std::uint64_t mark_of(std::string_view host_id);
inline constexpr std::size_t kMaxAsked = 256;  // of all persons; the oldest are forgotten
struct AskedTable {
  std::uint32_t magic = 0, count = 0;
  std::array<AskedRequest, kMaxAsked> request{};

  static AskedTable none();
  static AskedTable read(Bytes bytes);  // what is not whole is none
  Bytes bytes() const;
  std::span<const AskedRequest> all() const { return std::span(request).first(count); }
  void add(const AskedRequest& one);
  std::size_t of_day(std::uint32_t person, std::int64_t now_wall_s) const;
};
inline constexpr std::uint32_t kAskedMagic = 0x32515257;       // "WRQ2"
inline constexpr std::uint32_t kFirstAskedMagic = 0x31515257;  // the same without `host`

// What the child without rights makes of it.
struct AskAnswer {
  std::uint32_t status = 0;
  std::string text;    // for the caller
  std::string record;  // weir.v1.ExceptionRequest, of a request that may go on
};
struct GrantNow {
  std::uint32_t number = 0;
  std::uint64_t left = 0;
  bool holds = false, used_up = false;
};
struct AskFacts {
  AskMessage message;
  std::uint32_t person = 0;
  std::int64_t now_wall_s = 0;
  std::string id;  // that a request gets
  AskedTable asked;
  ExceptionTable exceptions;
  // Of the exceptions in force, as the kernel has them; nothing: it could not be asked.
  std::optional<std::vector<GrantNow>> grants{};
  std::uint64_t host = 0;           // as this host is called now, see mark_of()
  std::vector<KernelHold> holds{};  // that this person may see
  std::uint64_t now_boot_ns = 0;
};

// Flows that wait for one answer.
struct HeldGroup {
  HeldPlace place;
  std::string id;  // what a person types
  std::uint32_t person = 0, pid = 0, flows = 0;
  std::uint64_t since_ns = 0;  // the first of them
  Endpoint to;                 // likewise
};
// The oldest first; without those that their programs have closed.
std::vector<HeldGroup> grouped(std::span<const KernelHold> holds);

// What became of a request.
std::string state_of(const AskedRequest& asked, const AskFacts& facts, Language language);
std::string shown_time(std::int64_t wall_s);
// `reports`: descriptors of files of reports, older first; -1: none. Parses them: without rights.
AskAnswer answer_asked(const AskFacts& facts, std::span<const int> reports);

// Where the agent's server finds what it needs.
struct AskServer {
  int state = -1;         // folder
  int requests = -1;      // to the guard; -1: there is no collector
  std::string pin_dir{};  // where the kernel's accounts are; "": nowhere
  int releases = -1;      // spoken answers, to the guard and back; -1: there is no collector
  int answers = -1;       // to the guard: HoldAnswer
};
// Of the kinds challenge and release.
AskAnswer answer_release(const AskMessage& message, const AskServer& server);
struct AskCaller {
  std::uint32_t person = 0;  // its login uid where one is set, else its uid
  bool root = false;         // its uid is 0
};
// One caller, in a child of the server's.
void serve_asked(Fd caller, const AskMessage& message, const AskCaller& who,
                 const AskServer& server);

// The caller's side: the exit status; text goes to standard output, sentences to standard error.
int ask_agent(const AskMessage& message, const std::string& socket);
bool agent_answers(const std::string& socket);  // root's listens there

}  // namespace weir
