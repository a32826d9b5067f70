// Everything that enters the line. An Event is a value: what happened, when, to whom. Spans inside
// it point into the source's buffer and live until Line::on() returns.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/base/bytes.h"
#include "core/event/address.h"

namespace weir {

struct Policy;
struct Exception;

// Time is in the event. `boot_ns` (CLOCK_BOOTTIME) orders and measures; `wall_ns` (UTC since 1970)
// is for people. A capture file knows only wall time: its source puts the running maximum of it
// into boot_ns, because packet times in captures may run backwards.
struct Stamp {
  std::int64_t wall_ns = 0;
  std::int64_t boot_ns = 0;
};

using TreeId = std::uint64_t;    // 0: unattributed. Ids are never used twice in one boot.
using PersonId = std::uint32_t;  // login uid fixed at the tree's start, else the uid of its root
inline constexpr PersonId kNoPerson = 0xffffffff;
// Whose what no program of this machine has sent is: forwarded for a machine behind it, or the
// kernel's own. No login uid is this.
inline constexpr PersonId kForwarded = 0xfffffffd;

// Who sent it, as the kernel part knows; all zero for a capture file.
struct SocketRef {
  std::uint64_t cookie = 0;
  TreeId tree = 0;
  PersonId person = kNoPerson;
  std::uint32_t pid = 0;
};

enum class Direction : std::uint8_t { unknown, outgoing, incoming };

// Link types that decode knows (core/net/link.h), named as libpcap's DLT values are.
enum class LinkType : std::uint8_t {
  unsupported,
  ethernet,
  raw_ip,
  linux_sll,
  linux_sll2,
  null,
  loop
};

// A packet of a capture file, or from the kernel part (raw_ip): the first bytes of a flow and every
// DNS message. Volume never comes from these packets when there is a ledger (FlowUsage).
struct Packet {
  LinkType link = LinkType::unsupported;
  Direction direction = Direction::unknown;
  Bytes bytes;                    // what was captured
  std::uint32_t wire_length = 0;  // what was on the wire, >= bytes.size()
  SocketRef socket;
  // Index of the interface that it left or came by; 0: not known, or not one of this host's own
  // network namespace.
  std::uint32_t via = 0;
};

// The kernel's ledger of one socket, totals since it was opened: sent again every 64 KiB, when
// classified, and once with `closed`. Charged bytes: TCP payload by sequence, else IP packets.
struct FlowUsage {
  SocketRef socket;
  FlowKey flow;
  std::uint64_t bytes_out = 0;
  std::uint64_t bytes_in = 0;
  std::uint64_t refused = 0;  // bytes that an account did not let leave
  bool closed = false;
};

// An account had no room: the first refusal for (limit, who, destination), then once a second.
struct AccountSpent {
  SocketRef socket;
  FlowKey flow;
  std::uint32_t limit = 0;  // row of Policy::limits
  // Destination key of the account, 0 where the limit has none; row kExceptionsRow: the exception.
  std::uint64_t destination = 0;
  std::uint64_t spent = 0;  // bytes charged to the account so far
};

// A flow under a rule that holds has sent its first flight, and waits.
struct FlowHeld {
  SocketRef socket;
  FlowKey flow;
  std::uint32_t limit = 0;  // row of Policy::limits
  std::uint64_t destination = 0;
  std::uint64_t bytes_out = 0, bytes_in = 0;  // so far
};

// It waits no more. Several that waited for one answer are told by the first of them.
struct HoldEnded {
  enum class How : std::uint8_t {
    answered,  // somebody said why, and it went on
    closed,    // nobody did in time, and the rule says block: its connection is gone, queue and all
    let_go,    // nobody did in time, and the rule says allow
    too_many   // as many of this person wait as may: closed at once
  };
  SocketRef socket;
  FlowKey flow;
  std::uint32_t limit = 0;
  std::uint64_t destination = 0;
  How how = How::closed;
  std::uint32_t flows = 1;
  PersonId by = kNoPerson;   // who answered
  std::string_view because;  // what they said: text of a person, UTF-8
};

struct ProcessStarted {  // after exec, or found at start
  std::uint32_t pid = 0;
  std::uint32_t parent = 0;
  std::uint64_t start_ns = 0;  // CLOCK_BOOTTIME; (boot id, start, pid) names a process
  TreeId tree = 0;
  PersonId person = kNoPerson;
  std::uint32_t uid = 0;
  std::string_view program;  // path as bytes, maybe not UTF-8
};

struct ProcessExited {
  std::uint32_t pid = 0;
  TreeId tree = 0;
};

struct Session {  // login, lock, su, sudo … where the host tells
  enum class Kind : std::uint8_t {
    login,
    failed_login,
    logout,
    lock,
    unlock,
    remote_login,
    su,
    sudo
  };
  Kind kind = Kind::login;
  PersonId person = kNoPerson;
  std::uint32_t audit_session = 0;
  std::string_view seat;    // tty or seat, "" if none
  std::string_view remote;  // remote address, "" if local
  std::string_view origin;  // who says so: "utmp", "journal"…
};

struct PolicyChanged {
  std::shared_ptr<const Policy> policy;
};

struct ExceptionsChanged {  // all that hold from now on (core/policy/exceptions.h)
  std::shared_ptr<const std::vector<Exception>> exceptions;
  std::int64_t released_until_boot_ns = 0;  // until then the host only observes; 0: it is not so
  std::string_view released_by = {};        // in words
  enum class AfterCrashes : std::uint8_t { none, before, observes };
  AfterCrashes after_crashes = AfterCrashes::none;  // under an older policy, or under none
};

struct HostStarted {
  std::string_view host;  // name, for people
  std::string_view boot_id;
  std::uint8_t tier = 0;  // 1: cgroup BPF … 4: observe
};

struct InterfaceSeen {  // one that a network of the policy names
  std::string_view name;
  std::uint32_t index = 0;  // 0: it is gone. Never used twice in one boot, unless root says so
};

struct Gap {  // events that were lost, by the counter that says so
  std::string_view what;
  std::uint64_t lost = 0;
};

// Somebody with root's rights took away what holds the bound in the kernel, and the guard looked.
struct HookRemoved {
  enum class What : std::uint8_t {
    hook,     // a program was taken from its place
    program,  // another stood at its place
    pins,     // what keeps the programs when the guard dies; the bound held meanwhile
    more,     // that many more removals, of any kind: only so many are told in a minute
    silent    // it stands in its place, but a try showed that it does not work; `problem`: what was
              // seen
  };
  What what = What::hook;
  std::string_view name;     // weir_egress, "weir_floor at eth0"; of the first of several pins
  std::uint32_t count = 1;   // of pins, or of more
  std::int64_t open_ns = 0;  // at most so long nothing held there; 0: not known
  std::uint64_t sent = 0;    // bytes that left by the devices in that time, whoever's they were
  bool restored = false;
  std::string_view problem;  // why not
};

struct Tick {};  // at least once a second; closes windows

using EventBody = std::variant<Packet, FlowUsage, AccountSpent, ProcessStarted, ProcessExited,
                               Session, PolicyChanged, ExceptionsChanged, HostStarted,
                               InterfaceSeen, Gap, HookRemoved, FlowHeld, HoldEnded, Tick>;

struct Event {
  Stamp at;
  EventBody body;
};

// What the line says to a source that asked. `later` carries the token of the answer to come.
struct Answer {
  enum class Kind : std::uint8_t { allow, deny, later };
  Kind kind = Kind::allow;
  std::uint64_t token = 0;
};

}  // namespace weir
