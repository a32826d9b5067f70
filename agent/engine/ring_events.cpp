// Records of the kernel part's ring as events of the line: see ring_events.h.
#include "agent/engine/ring_events.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "core/policy/exceptions.h"
#include "core/policy/shuts.h"

namespace weir {
namespace {

// What the line knows by a number in the place of a row.
static_assert(kExceptionsRow == WEIR_EXCEPTIONS);
static_assert(kIsolatedRow == WEIR_ISOLATED && kShutRow == WEIR_SHUT);
static_assert(kFamilyRefused == WEIR_FAMILY_REFUSED && kFamilyMade == WEIR_FAMILY_MADE &&
              kFamilySent == WEIR_FAMILY_SENT);

constexpr std::uint8_t kIcmp = 1, kTcp = 6, kUdp = 17, kIcmp6 = 58;  // IPPROTO_*

template <class T>
std::optional<T> copy_of(Bytes record) {
  T value;
  if (record.size() < sizeof value) return std::nullopt;
  std::memcpy(&value, record.data(), sizeof value);
  return value;
}

Stamp stamp_of(const weir_record& record, std::int64_t boot_to_wall_ns) {
  auto boot = static_cast<std::int64_t>(record.boot_ns & INT64_MAX);
  // Unsigned, because a damaged time must wrap and not be undefined.
  auto wall = static_cast<std::int64_t>(static_cast<std::uint64_t>(boot) +
                                        static_cast<std::uint64_t>(boot_to_wall_ns));
  return {wall, boot};
}

SocketRef socket_of(const weir_record& record) {
  return {record.cookie, record.tree, record.person, record.pid};
}

Transport transport_of(std::uint8_t protocol) {
  switch (protocol) {
    case kTcp:
      return Transport::tcp;
    case kUdp:
      return Transport::udp;
    case kIcmp:
    case kIcmp6:
      return Transport::icmp;
    default:
      return Transport::other;
  }
}

FlowKey flow_of(const weir_tuple& tuple) {
  FlowKey key;
  std::memcpy(key.client.address.bytes.data(), tuple.local, sizeof tuple.local);
  std::memcpy(key.server.address.bytes.data(), tuple.remote, sizeof tuple.remote);
  key.client.port = tuple.local_port;
  key.server.port = tuple.remote_port;
  key.transport = transport_of(tuple.protocol);
  return key;
}

std::optional<Event> packet_of(Bytes record, std::int64_t offset) {
  std::optional<weir_head> head = copy_of<weir_head>(record);
  if (!head || head->captured > WEIR_HEAD_MAX || head->captured > record.size() - sizeof *head)
    return std::nullopt;
  Packet packet;
  packet.link = LinkType::raw_ip;
  packet.direction = head->incoming != 0 ? Direction::incoming : Direction::outgoing;
  packet.bytes = record.subspan(sizeof *head, head->captured);
  packet.wire_length = std::max(head->wire_length, head->captured);
  packet.socket = socket_of(head->record);
  packet.via = head->via;
  return Event{stamp_of(head->record, offset), packet};
}

std::optional<Event> usage_of(Bytes record, std::int64_t offset) {
  std::optional<weir_usage> usage = copy_of<weir_usage>(record);
  if (!usage || record.size() != sizeof *usage) return std::nullopt;
  FlowUsage flow;
  flow.socket = socket_of(usage->record);
  flow.flow = flow_of(usage->tuple);
  flow.bytes_out = usage->bytes_out;
  flow.bytes_in = usage->bytes_in;
  flow.refused = usage->refused;
  flow.closed = usage->closed != 0;
  return Event{stamp_of(usage->record, offset), flow};
}

std::optional<Event> refusal_of(Bytes record, std::int64_t offset) {
  std::optional<weir_refused> refused = copy_of<weir_refused>(record);
  if (!refused || record.size() != sizeof *refused) return std::nullopt;
  return event_of(*refused, offset);
}

std::optional<Event> held_of(Bytes record, std::int64_t offset) {
  std::optional<weir_refused> told = copy_of<weir_refused>(record);
  if (!told || record.size() != sizeof *told) return std::nullopt;
  return Event{stamp_of(told->record, offset),
               FlowHeld{socket_of(told->record), flow_of(told->tuple), told->account.limit,
                        told->account.dest, told->charged, told->length}};
}

// The program's name points into the record, not into a copy of it.
std::optional<Event> started_of(Bytes record, std::int64_t offset) {
  std::optional<weir_exec> exec = copy_of<weir_exec>(record);
  if (!exec || record.size() != sizeof *exec) return std::nullopt;
  Event event = event_of(*exec, offset);
  auto& started = std::get<ProcessStarted>(event.body);
  Bytes name = record.subspan(offsetof(weir_exec, program), started.program.size());
  started.program = text_of(name);
  return event;
}

std::optional<Event> exit_of(Bytes record, std::int64_t offset) {
  std::optional<weir_record> exit = copy_of<weir_record>(record);
  if (!exit) return std::nullopt;
  return Event{stamp_of(*exit, offset), ProcessExited{exit->pid, exit->tree}};
}

}  // namespace

Event event_of(const weir_refused& refused, std::int64_t offset) {
  AccountSpent spent;
  spent.socket = socket_of(refused.record);
  spent.flow = flow_of(refused.tuple);
  spent.limit = refused.account.limit;
  spent.destination = refused.account.dest;
  spent.spent = refused.charged;
  return {stamp_of(refused.record, offset), spent};
}

Event event_of(const wire::HoldEnded& ended, std::string_view because, const Stamp& at) {
  HoldEnded out;
  out.socket = {ended.cookie, ended.tree, ended.person, ended.pid};
  out.flow = flow_of(ended.tuple);
  out.limit = ended.limit;
  out.destination = ended.destination;
  out.how = static_cast<HoldEnded::How>(ended.how);
  out.flows = ended.flows;
  out.by = ended.by;
  out.because = because;
  return {at, out};
}

Event event_of(const weir_exec& exec, std::int64_t offset) {
  ProcessStarted started;
  started.pid = exec.record.pid;
  started.parent = exec.parent;
  started.start_ns = exec.start_ns;
  started.tree = exec.record.tree;
  started.person = exec.record.person;
  started.uid = exec.uid;
  started.program = {exec.program, ::strnlen(exec.program, sizeof exec.program)};
  return {stamp_of(exec.record, offset), started};
}

std::optional<Event> event_of(Bytes record, std::int64_t offset, RingDamage& damage) {
  std::optional<weir_record> head = copy_of<weir_record>(record);
  if (!head || head->size != record.size()) {
    ++damage.malformed;
    return std::nullopt;
  }
  std::optional<Event> event;
  switch (head->kind) {
    case WEIR_REC_HEAD:
      event = packet_of(record, offset);
      break;
    case WEIR_REC_USAGE:
      event = usage_of(record, offset);
      break;
    case WEIR_REC_REFUSED:
      event = refusal_of(record, offset);
      break;
    case WEIR_REC_HELD:
      event = held_of(record, offset);
      break;
    case WEIR_REC_EXEC:
      event = started_of(record, offset);
      break;
    case WEIR_REC_EXIT:
      event = exit_of(record, offset);
      break;
    case WEIR_REC_FORK:
      return std::nullopt;  // the exec that follows names the process
    default:
      ++damage.unknown;
      return std::nullopt;
  }
  if (!event) ++damage.malformed;
  return event;
}

std::optional<Event> session_of(const Event& event) {
  const auto* started = std::get_if<ProcessStarted>(&event.body);
  if (started == nullptr || started->person == kNoPerson) return std::nullopt;
  std::string_view name = started->program.substr(started->program.rfind('/') + 1);
  if (name != "su" && name != "sudo") return std::nullopt;
  Session session;
  session.kind = name == "su" ? Session::Kind::su : Session::Kind::sudo;
  session.person = started->person;
  session.origin = "exec";
  return Event{event.at, session};
}

}  // namespace weir
