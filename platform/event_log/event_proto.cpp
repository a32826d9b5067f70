// Event ↔ weir.v1.Event: see event_proto.h.
#include "platform/event_log/event_proto.h"

#include <fmt/format.h>

#include "core/policy/exceptions.h"
#include "core/policy/shuts.h"
#include "proto/map/enums.h"
#include "proto/map/policy_proto.h"
#include "proto/map/text.h"

namespace weir {
namespace {

using map::core_of;
using map::wire_of;

// Where a blocked name was seen: the one kind that has both (core/policy/shuts.h).
bool is_place(const Exception& one) {
  return one.bytes == 0 && !one.domain.empty() && one.prefix.length == 128 &&
         one.prefix.address != IpAddress();
}

// ---- to the wire -----------------------------------------------------------------------------

// 0 on the wire is "no person", so that the field costs nothing where there is none.
std::uint64_t person_plus_one(PersonId person) {
  return person == kNoPerson ? 0 : std::uint64_t{person} + 1;
}

void put(const SocketRef& socket, v1::SocketRef* out) {
  out->set_cookie(socket.cookie);
  out->set_tree(socket.tree);
  out->set_person_plus_one(person_plus_one(socket.person));
  out->set_pid(socket.pid);
}

void put(const Endpoint& endpoint, v1::Endpoint* out) {
  const IpAddress& address = endpoint.address;
  if (address != IpAddress{}) {
    std::string_view all = text_of(address.bytes);
    out->set_address(std::string(address.is_v4() ? all.substr(12) : all));
  }
  out->set_port(endpoint.port);
}

void put(const FlowKey& flow, v1::FlowKey* out) {
  put(flow.client, out->mutable_client());
  put(flow.server, out->mutable_server());
  out->set_transport(wire_of(map::kTransports, flow.transport));
}

struct Putter {
  v1::Event& out;

  void operator()(const Packet& e) const {
    v1::PacketHead* to = out.mutable_packet();
    to->set_link(wire_of(map::kLinks, e.link));
    to->set_direction(wire_of(map::kDirections, e.direction));
    to->set_captured(e.bytes.data(), e.bytes.size());
    to->set_wire_length(e.wire_length);
    put(e.socket, to->mutable_socket());
    to->set_via(e.via);
  }
  void operator()(const FlowUsage& e) const {
    v1::FlowUsage* to = out.mutable_flow_usage();
    put(e.socket, to->mutable_socket());
    put(e.flow, to->mutable_flow());
    to->set_bytes_out(e.bytes_out);
    to->set_bytes_in(e.bytes_in);
    to->set_bytes_refused(e.refused);
    to->set_closed(e.closed);
  }
  void operator()(const AccountSpent& e) const {
    v1::AccountSpent* to = out.mutable_account_spent();
    put(e.socket, to->mutable_socket());
    put(e.flow, to->mutable_flow());
    to->set_limit(e.limit);
    to->set_destination(e.destination);
    to->set_bytes_spent(e.spent);
  }
  void operator()(const FlowHeld& e) const {
    v1::FlowHeld* to = out.mutable_flow_held();
    put(e.socket, to->mutable_socket());
    put(e.flow, to->mutable_flow());
    to->set_limit(e.limit);
    to->set_destination(e.destination);
    to->set_bytes_out(e.bytes_out);
    to->set_bytes_in(e.bytes_in);
  }
  void operator()(const HoldEnded& e) const {
    v1::HoldEnded* to = out.mutable_hold_ended();
    put(e.socket, to->mutable_socket());
    put(e.flow, to->mutable_flow());
    to->set_limit(e.limit);
    to->set_destination(e.destination);
    to->set_how(wire_of(map::kHoldEnds, e.how));
    to->set_flows(e.flows);
    to->set_by_plus_one(person_plus_one(e.by));
    to->set_because(shown(e.because));
  }
  void operator()(const ProcessStarted& e) const {
    v1::ProcessStarted* to = out.mutable_process_started();
    to->mutable_process()->set_pid(e.pid);
    to->mutable_process()->set_start_boot_ns(e.start_ns);
    to->set_parent(e.parent);
    to->set_tree(e.tree);
    to->set_person_plus_one(person_plus_one(e.person));
    to->set_uid(e.uid);
    to->mutable_program()->set_raw(std::string(e.program));
    to->mutable_program()->set_encoding(is_utf8(e.program) ? v1::Path::utf8 : v1::Path::opaque);
  }
  void operator()(const ProcessExited& e) const {
    out.mutable_process_exited()->mutable_process()->set_pid(e.pid);
    out.mutable_process_exited()->set_tree(e.tree);
  }
  void operator()(const Session& e) const {
    v1::Session* to = out.mutable_session();
    to->set_kind(wire_of(map::kSessions, e.kind));
    to->set_person_plus_one(person_plus_one(e.person));
    to->set_audit_session(e.audit_session);
    to->set_seat(shown(e.seat));
    to->set_remote(shown(e.remote));
    to->set_origin(shown(e.origin));
  }
  void operator()(const PolicyChanged& e) const {
    to_proto(*e.policy, *out.mutable_policy_changed()->mutable_policy());
  }
  void operator()(const ExceptionsChanged& e) const {
    v1::ExceptionsChanged* to = out.mutable_exceptions_changed();
    for (const Exception& exception : *e.exceptions) {
      v1::ExceptionsChanged::Held* one = to->add_exceptions();
      one->set_number(exception.number);
      one->set_person_plus_one(person_plus_one(exception.person));
      one->set_domain(shown(exception.domain));
      if (exception.domain.empty() || is_place(exception)) one->set_prefix(exception.prefix.text());
      for (const std::string& rule : exception.sets_aside) one->add_sets_aside(shown(rule));
      one->set_bytes(exception.bytes);
      one->set_until_boot_ns(exception.until_boot_ns);
    }
    to->set_released_until_boot_ns(e.released_until_boot_ns);
    to->set_released_by(shown(e.released_by));
    to->set_after_crashes(static_cast<std::uint32_t>(e.after_crashes));
  }
  void operator()(const HostStarted& e) const {
    v1::HostStarted* to = out.mutable_host_started();
    to->mutable_host()->set_name(shown(e.host));
    to->set_boot_id(shown(e.boot_id));
    to->set_tier(e.tier);
  }
  void operator()(const InterfaceSeen& e) const {
    out.mutable_interface_seen()->set_interface(shown(e.name));
    out.mutable_interface_seen()->set_index(e.index);
  }
  void operator()(const Gap& e) const {
    out.mutable_gap()->set_what(shown(e.what));
    out.mutable_gap()->set_lost(e.lost);
  }
  void operator()(const HookRemoved& e) const {
    v1::HookRemoved* to = out.mutable_removed();
    to->set_what(wire_of(map::kRemovals, e.what));
    to->set_part(shown(e.name));
    to->set_count(e.count);
    to->set_open_ns(e.open_ns);
    to->set_bytes_sent(e.sent);
    to->set_restored(e.restored);
    to->set_problem(shown(e.problem));
  }
  void operator()(const Tick&) const { out.mutable_tick(); }
};

// ---- from the wire ---------------------------------------------------------------------------

// Takes one event apart; the first thing that can't be stays in wrong_.
class Taker {
 public:
  const std::string& wrong() const { return wrong_; }
  EventBody body(const v1::Event& in);

 private:
  template <class T>
  T number(std::uint64_t value, std::string_view field) {
    if (value > std::numeric_limits<T>::max()) refuse(fmt::format("{} is {}", field, value));
    return static_cast<T>(value);
  }
  void refuse(std::string what) {
    if (wrong_.empty()) wrong_ = std::move(what);
  }

  PersonId person(std::uint64_t plus_one) {
    return plus_one == 0 ? kNoPerson : number<PersonId>(plus_one - 1, "person");
  }
  SocketRef socket(const v1::SocketRef& in) {
    return {in.cookie(), in.tree(), person(in.person_plus_one()), in.pid()};
  }
  Endpoint endpoint(const v1::Endpoint& in);
  FlowKey flow(const v1::FlowKey& in) {
    return {endpoint(in.client()), endpoint(in.server()),
            core_of(map::kTransports, in.transport()).value_or(Transport::other)};
  }
  EventBody packet(const v1::PacketHead& in);
  EventBody started(const v1::ProcessStarted& in);
  EventBody session(const v1::Session& in);
  EventBody policy(const v1::PolicyChanged& in);
  EventBody exceptions(const v1::ExceptionsChanged& in);
  EventBody removed(const v1::HookRemoved& in);
  EventBody hold_ended(const v1::HoldEnded& in);

  std::string wrong_;
};

Endpoint Taker::endpoint(const v1::Endpoint& in) {
  Endpoint out;
  Bytes address = bytes_of(in.address());
  if (address.size() == 4) {
    out.address = IpAddress::v4(address);
  } else if (address.size() == 16) {
    out.address = IpAddress::v6(address);
  } else if (!address.empty()) {
    refuse(fmt::format("an address has {} bytes", address.size()));
  }
  out.port = number<std::uint16_t>(in.port(), "port");
  return out;
}

EventBody Taker::packet(const v1::PacketHead& in) {
  Packet out;
  out.link = core_of(map::kLinks, in.link()).value_or(LinkType::unsupported);
  out.direction = core_of(map::kDirections, in.direction()).value_or(Direction::unknown);
  out.bytes = bytes_of(in.captured());
  out.wire_length = in.wire_length();
  if (out.wire_length < out.bytes.size()) refuse("a packet is longer than it was on the wire");
  out.socket = socket(in.socket());
  out.via = in.via();
  return out;
}

EventBody Taker::started(const v1::ProcessStarted& in) {
  ProcessStarted out;
  out.pid = in.process().pid();
  out.parent = in.parent();
  out.start_ns = in.process().start_boot_ns();
  out.tree = in.tree();
  out.person = person(in.person_plus_one());
  out.uid = in.uid();
  out.program = in.program().raw();
  return out;
}

EventBody Taker::session(const v1::Session& in) {
  Session out;
  if (auto kind = core_of(map::kSessions, in.kind())) {
    out.kind = *kind;
  } else {
    refuse(fmt::format("a session event has the unknown kind {}", static_cast<int>(in.kind())));
  }
  out.person = person(in.person_plus_one());
  out.audit_session = in.audit_session();
  out.seat = in.seat();
  out.remote = in.remote();
  out.origin = in.origin();
  return out;
}

EventBody Taker::policy(const v1::PolicyChanged& in) {
  if (!in.has_policy()) {
    refuse("a change of policy holds none");
    return Tick{};
  }
  Result<Policy> policy = from_proto(in.policy());
  if (!policy) {
    refuse(policy.error().sentence);
    return Tick{};
  }
  return PolicyChanged{std::make_shared<const Policy>(std::move(*policy))};
}

EventBody Taker::exceptions(const v1::ExceptionsChanged& in) {
  std::vector<Exception> all;
  if (static_cast<std::size_t>(in.exceptions_size()) > kMaxExceptions + kMaxShuts + kMaxShutPlaces)
    refuse(fmt::format("{} exceptions hold at once", in.exceptions_size()));
  if (in.after_crashes() > static_cast<std::uint32_t>(ExceptionsChanged::AfterCrashes::observes))
    refuse(fmt::format("after crashes is {}", in.after_crashes()));
  for (const v1::ExceptionsChanged::Held& held : in.exceptions()) {
    if (!wrong_.empty()) break;
    Exception one;
    one.number = held.number();
    one.person = person(held.person_plus_one());
    one.domain = held.domain();
    one.bytes = held.bytes();
    one.until_boot_ns = held.until_boot_ns();
    if (!held.prefix().empty()) {
      const Result<Prefix> prefix = Prefix::parse(held.prefix());
      if (prefix) one.prefix = *prefix;
      if (!prefix || (!one.domain.empty() && !is_place(one)))
        refuse("an exception is for no destination");
    } else if (one.domain.empty()) {
      refuse("an exception is for no destination");
    }
    if (static_cast<std::size_t>(held.sets_aside_size()) > kMaxSetAside)
      refuse(fmt::format("an exception sets {} rules aside", held.sets_aside_size()));
    else
      one.sets_aside.assign(held.sets_aside().begin(), held.sets_aside().end());
    all.push_back(std::move(one));
  }
  return ExceptionsChanged{std::make_shared<const std::vector<Exception>>(std::move(all)),
                           in.released_until_boot_ns(), in.released_by(),
                           static_cast<ExceptionsChanged::AfterCrashes>(in.after_crashes())};
}

EventBody Taker::removed(const v1::HookRemoved& in) {
  HookRemoved out;
  if (auto what = core_of(map::kRemovals, in.what())) {
    out.what = *what;
  } else {
    refuse(fmt::format("a hook was removed in the unknown way {}", static_cast<int>(in.what())));
  }
  out.name = in.part();
  out.count = in.count();
  out.open_ns = in.open_ns();
  out.sent = in.bytes_sent();
  out.restored = in.restored();
  out.problem = in.problem();
  return out;
}

EventBody Taker::hold_ended(const v1::HoldEnded& in) {
  HoldEnded out;
  out.socket = socket(in.socket());
  out.flow = flow(in.flow());
  out.limit = in.limit();
  out.destination = in.destination();
  if (auto how = core_of(map::kHoldEnds, in.how())) {
    out.how = *how;
  } else {
    refuse(fmt::format("a hold ended in the unknown way {}", static_cast<int>(in.how())));
  }
  out.flows = in.flows();
  out.by = person(in.by_plus_one());
  out.because = in.because();
  return out;
}

EventBody Taker::body(const v1::Event& in) {
  switch (in.body_case()) {
    case v1::Event::kPacket:
      return packet(in.packet());
    case v1::Event::kFlowUsage: {
      const v1::FlowUsage& u = in.flow_usage();
      return FlowUsage{socket(u.socket()), flow(u.flow()),    u.bytes_out(),
                       u.bytes_in(),       u.bytes_refused(), u.closed()};
    }
    case v1::Event::kAccountSpent: {
      const v1::AccountSpent& s = in.account_spent();
      return AccountSpent{socket(s.socket()), flow(s.flow()), s.limit(), s.destination(),
                          s.bytes_spent()};
    }
    case v1::Event::kFlowHeld: {
      const v1::FlowHeld& h = in.flow_held();
      return FlowHeld{socket(h.socket()), flow(h.flow()), h.limit(),
                      h.destination(),    h.bytes_out(),  h.bytes_in()};
    }
    case v1::Event::kHoldEnded:
      return hold_ended(in.hold_ended());
    case v1::Event::kProcessStarted:
      return started(in.process_started());
    case v1::Event::kProcessExited:
      return ProcessExited{in.process_exited().process().pid(), in.process_exited().tree()};
    case v1::Event::kSession:
      return session(in.session());
    case v1::Event::kPolicyChanged:
      return policy(in.policy_changed());
    case v1::Event::kExceptionsChanged:
      return exceptions(in.exceptions_changed());
    case v1::Event::kHostStarted: {
      const v1::HostStarted& h = in.host_started();
      return HostStarted{h.host().name(), h.boot_id(), number<std::uint8_t>(h.tier(), "tier")};
    }
    case v1::Event::kInterfaceSeen:
      return InterfaceSeen{in.interface_seen().interface(), in.interface_seen().index()};
    case v1::Event::kGap:
      return Gap{in.gap().what(), in.gap().lost()};
    case v1::Event::kRemoved:
      return removed(in.removed());
    case v1::Event::kTick:
      return Tick{};
    default:
      refuse("it is of a kind that this version does not know");
      return Tick{};
  }
}

}  // namespace

void to_proto(const Event& event, v1::Event& out) {
  out.Clear();
  out.mutable_at()->set_boot_ns(event.at.boot_ns);
  out.mutable_at()->set_wall_ns(event.at.wall_ns);
  std::visit(Putter{out}, event.body);
}

Result<Event> from_proto(const v1::Event& in) {
  Taker take;
  Event out;
  out.at = {in.at().wall_ns(), in.at().boot_ns()};
  out.body = take.body(in);
  if (!take.wrong().empty()) return fail(take.wrong());
  return out;
}

}  // namespace weir
