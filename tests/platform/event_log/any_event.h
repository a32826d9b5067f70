// Any event, for properties, and equality member by member (as tests/proto/map/same.h).
#pragma once

#include <deque>

#include "core/event/event.h"
#include "core/policy/exceptions.h"
#include "tests/proto/map/any_policy.h"
#include "tests/proto/map/same.h"

namespace weir {

// An event's spans need bytes that outlive it: they live here.
struct AnyEvent {
  std::deque<std::string> store;
  Event event;

  std::string_view keep(std::string s) { return store.emplace_back(std::move(s)); }
};

namespace any {

inline SocketRef socket() {
  return {number<std::uint64_t>(), number<std::uint64_t>(), number<std::uint32_t>(),
          number<std::uint32_t>()};
}
inline Endpoint endpoint() {
  IpAddress at = number<bool>() ? address() : IpAddress::v4(number<std::uint32_t>());
  return {at, number<std::uint16_t>()};
}
inline FlowKey flow() {
  return {endpoint(), endpoint(), one_of(Transport::other, Transport::icmp)};
}

inline Packet packet(AnyEvent& any) {
  Packet out;
  out.link = one_of(LinkType::unsupported, LinkType::loop);
  out.direction = one_of(Direction::unknown, Direction::incoming);
  out.bytes = bytes_of(any.keep(*rc::gen::arbitrary<std::string>()));
  out.wire_length = static_cast<std::uint32_t>(out.bytes.size()) + *rc::gen::inRange(0, 9000);
  out.via = number<std::uint32_t>();
  out.socket = socket();
  return out;
}

inline EventBody body(AnyEvent& a) {
  auto u64 = number<std::uint64_t>;
  auto u32 = number<std::uint32_t>;
  switch (*rc::gen::inRange<std::size_t>(0, std::variant_size_v<EventBody>)) {
    case 0:
      return packet(a);
    case 1:
      return FlowUsage{socket(), flow(), u64(), u64(), u64(), number<bool>()};
    case 2:
      return AccountSpent{socket(), flow(), u32(), u64(), u64()};
    case 3:  // a program's path is bytes: any of them
      return ProcessStarted{
          u32(), u32(), u64(), u64(), u32(), u32(), a.keep(*rc::gen::arbitrary<std::string>())};
    case 4:
      return ProcessExited{u32(), u64()};
    case 5:
      return Session{one_of(Session::Kind::login, Session::Kind::sudo),
                     u32(),
                     u32(),
                     a.keep(word()),
                     a.keep(word()),
                     a.keep(word())};
    case 6:
      return PolicyChanged{std::make_shared<const Policy>(policy())};
    case 7:
      return HostStarted{a.keep(word()), a.keep(word()), number<std::uint8_t>()};
    case 8:
      return Gap{a.keep(word()), u64()};
    case 9:
      return InterfaceSeen{a.keep(word()), u32()};
    case 10: {
      std::vector<Exception> all;
      for (int n = *rc::gen::inRange(0, 3); n > 0; --n) {
        Exception one{u32(), u32(), number<bool>() ? "" : word() + ".example", {}, {}, u64(), 0};
        if (one.domain.empty()) one.prefix = {address(), 128};
        if (!one.domain.empty() && number<bool>()) {  // where a blocked name was seen
          one.bytes = 0;
          one.prefix = {address(), 128};
        }
        one.sets_aside = {word()};
        one.until_boot_ns = number<std::int64_t>();
        all.push_back(one);
      }
      return ExceptionsChanged{std::make_shared<const std::vector<Exception>>(all)};
    }
    case 11:
      return HookRemoved{one_of(HookRemoved::What::hook, HookRemoved::What::more),
                         a.keep(word()),
                         u32(),
                         number<std::int64_t>(),
                         u64(),
                         number<bool>(),
                         a.keep(word())};
    case 12:
      return FlowHeld{socket(), flow(), u32(), u64(), u64(), u64()};
    case 13:
      return HoldEnded{socket(),
                       flow(),
                       u32(),
                       u64(),
                       one_of(HoldEnded::How::answered, HoldEnded::How::too_many),
                       u32(),
                       u32(),
                       a.keep(word())};
    default:
      return Tick{};
  }
}

inline AnyEvent event() {
  AnyEvent out;
  out.event.at = {number<std::int64_t>(), number<std::int64_t>()};
  out.event.body = body(out);
  return out;
}

}  // namespace any

inline auto tied(const SocketRef& v) {
  const auto& [cookie, tree, person, pid] = v;
  return std::tie(cookie, tree, person, pid);
}
inline bool same(const Packet& a, const Packet& b) {
  const auto& [link, direction, bytes, wire_length, socket, via] = a;
  return link == b.link && direction == b.direction && text_of(bytes) == text_of(b.bytes) &&
         wire_length == b.wire_length && tied(socket) == tied(b.socket) && via == b.via;
}
inline bool same(const InterfaceSeen& a, const InterfaceSeen& b) {
  const auto& [name, index] = a;
  return name == b.name && index == b.index;
}
inline bool same(const FlowUsage& a, const FlowUsage& b) {
  const auto& [socket, flow, out, in, refused, closed] = a;
  return tied(socket) == tied(b.socket) && flow == b.flow && out == b.bytes_out &&
         in == b.bytes_in && refused == b.refused && closed == b.closed;
}
inline bool same(const AccountSpent& a, const AccountSpent& b) {
  const auto& [socket, flow, limit, destination, spent] = a;
  return tied(socket) == tied(b.socket) && flow == b.flow && limit == b.limit &&
         destination == b.destination && spent == b.spent;
}
inline bool same(const ProcessStarted& a, const ProcessStarted& b) {
  const auto& [pid, parent, start, tree, person, uid, program] = a;
  return pid == b.pid && parent == b.parent && start == b.start_ns && tree == b.tree &&
         person == b.person && uid == b.uid && program == b.program;
}
inline bool same(const ProcessExited& a, const ProcessExited& b) {
  const auto& [pid, tree] = a;
  return pid == b.pid && tree == b.tree;
}
inline bool same(const Session& a, const Session& b) {
  const auto& [kind, person, audit_session, seat, remote, origin] = a;
  return kind == b.kind && person == b.person && audit_session == b.audit_session &&
         seat == b.seat && remote == b.remote && origin == b.origin;
}
inline bool same(const PolicyChanged& a, const PolicyChanged& b) {
  return same(*a.policy, *b.policy);
}
inline bool same(const ExceptionsChanged& a, const ExceptionsChanged& b) {
  return std::equal(a.exceptions->begin(), a.exceptions->end(), b.exceptions->begin(),
                    b.exceptions->end(), [](const Exception& x, const Exception& y) {
                      const auto& [number, person, domain, prefix, sets_aside, bytes, until] = x;
                      return number == y.number && person == y.person && domain == y.domain &&
                             prefix == y.prefix && sets_aside == y.sets_aside && bytes == y.bytes &&
                             until == y.until_boot_ns;
                    });
}
inline bool same(const HostStarted& a, const HostStarted& b) {
  const auto& [host, boot_id, tier] = a;
  return host == b.host && boot_id == b.boot_id && tier == b.tier;
}
inline bool same(const Gap& a, const Gap& b) {
  const auto& [what, lost] = a;
  return what == b.what && lost == b.lost;
}
inline bool same(const HookRemoved& a, const HookRemoved& b) {
  const auto& [what, name, count, open_ns, sent, restored, problem] = a;
  return what == b.what && name == b.name && count == b.count && open_ns == b.open_ns &&
         sent == b.sent && restored == b.restored && problem == b.problem;
}
inline bool same(const FlowHeld& a, const FlowHeld& b) {
  const auto& [socket, flow, limit, destination, out, in] = a;
  return tied(socket) == tied(b.socket) && flow == b.flow && limit == b.limit &&
         destination == b.destination && out == b.bytes_out && in == b.bytes_in;
}
inline bool same(const HoldEnded& a, const HoldEnded& b) {
  const auto& [socket, flow, limit, destination, how, flows, by, because] = a;
  return tied(socket) == tied(b.socket) && flow == b.flow && limit == b.limit &&
         destination == b.destination && how == b.how && flows == b.flows && by == b.by &&
         because == b.because;
}
inline bool same(const Tick&, const Tick&) {
  return true;
}

inline bool same(const Event& a, const Event& b) {
  if (a.at.wall_ns != b.at.wall_ns || a.at.boot_ns != b.at.boot_ns) return false;
  if (a.body.index() != b.body.index()) return false;
  return std::visit(
      [&](const auto& x) { return same(x, std::get<std::decay_t<decltype(x)>>(b.body)); }, a.body);
}

}  // namespace weir
