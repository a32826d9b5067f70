// The engine's loop: see engine.h.
#include "agent/engine/engine.h"

#include <fmt/format.h>
#include <linux/if_packet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <ctime>

#include "agent/guard/exceptions.h"
#include "agent/guard/messages.h"
#include "core/policy/policy.h"
#include "platform/files/passing.h"
#include "proto/map/policy_proto.h"
#include "proto/map/text.h"

namespace weir {
namespace {

constexpr std::int64_t kSecondNs = 1'000'000'000;
constexpr std::size_t kRecordsAtOnce = 1024;  // between two looks at the guard
constexpr int kPacketsAtOnce = 256;
constexpr std::int64_t kLookNs = 100'000'000;   // for records that wake nobody
constexpr std::size_t kLargestPacket = 65536;   // with GSO a packet socket sees super-packets
constexpr std::uint32_t kMaxPolicy = 1u << 20;  // kMaxCompiledBytes
constexpr std::size_t kUtmpBytes = 1024 * 512;  // kMaxUtmpRecords of at most 512 bytes

std::int64_t clock_ns(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return now.tv_sec * kSecondNs + now.tv_nsec;
}

const char* counter_name(std::uint32_t counter) {
  switch (counter) {
    case WEIR_COUNT_RING_LOST:
      return "ring_lost";
    case WEIR_COUNT_TOLD_LOST:
      return "told_lost";
    case WEIR_COUNT_TASKS_FULL:
      return "tasks_full";
    case WEIR_COUNT_ACCOUNTS_FULL:
      return "accounts_full";
    case WEIR_COUNT_STORAGE_FULL:
      return "storage_full";
    default:
      return "kernel";
  }
}

}  // namespace

Engine::Engine(Line& line, EngineOutlet& outlet, GuardLine& guard, LogWriter* log,
               const EngineSources& sources, EngineFacts facts)
    : line_(line),
      outlet_(outlet),
      guard_line_(guard),
      log_(log),
      sources_(sources),
      facts_(std::move(facts)),
      buffer_(std::max(kLargestPacket, kUtmpBytes)) {}

Stamp Engine::now() const {
  std::int64_t boot = clock_ns(CLOCK_BOOTTIME);
  return {boot + boot_to_wall_ns_, boot};
}

void Engine::feed(const Event& event) {
  if (log_ != nullptr) log_->write(event);
  outlet_.audit(event);
  line_.on(event);
}

void Engine::begin(std::shared_ptr<const Policy> policy) {
  boot_to_wall_ns_ = clock_ns(CLOCK_REALTIME) - clock_ns(CLOCK_BOOTTIME);
  std::uint32_t number = policy->number;
  feed({now(), HostStarted{facts_.host, facts_.boot_id, facts_.tier}});
  feed({now(), PolicyChanged{std::move(policy)}});
  wire::Ready ready;
  ready.policy_number = number;
  guard_line_.tell(ready);
}

int Engine::run() {
  for (;;) {
    pollfd wanted[2] = {
        {sources_.guard, POLLIN, 0},
        {sources_.ring != nullptr ? sources_.ring->poll_fd() : sources_.packets, POLLIN, 0}};
    const std::int64_t left =
        std::clamp<std::int64_t>(second_ns_ - clock_ns(CLOCK_BOOTTIME), 0, look_ns_);
    ::poll(wanted, 2, static_cast<int>(left / 1'000'000 + 1));
    boot_to_wall_ns_ = clock_ns(CLOCK_REALTIME) - clock_ns(CLOCK_BOOTTIME);
    if (sources_.ring != nullptr)
      read_ring();
    else if (wanted[1].revents != 0)
      read_packets();
    if (wanted[0].revents != 0 && !read_guard()) break;
    if (clock_ns(CLOCK_BOOTTIME) >= second_ns_) each_second();
    outlet_.flush();
  }
  if (sources_.ring != nullptr) read_ring();
  line_.finish();
  if (log_ != nullptr) log_->flush();
  outlet_.drain();
  return 0;
}

void Engine::read_ring() {
  const std::size_t read = sources_.ring->read(
      [this](Bytes record) {
        std::optional<Event> event = event_of(record, boot_to_wall_ns_, damage_);
        if (!event) return;
        const auto* usage = std::get_if<FlowUsage>(&event->body);
        if (usage && usage->closed) outlet_.closed(usage->socket.cookie);
        feed(*event);
        if (std::optional<Event> session = session_of(*event)) {
          feed(*session);
          outlet_.session(std::get<Session>(session->body), session->at);
        }
      },
      kRecordsAtOnce);
  look_ns_ = read > 0 ? kLookNs : kRestNs;
}

// Tier 4: what crosses the interfaces of this network namespace, whoever sent it.
void Engine::read_packets() {
  for (int n = 0; n < kPacketsAtOnce; ++n) {
    sockaddr_ll from{};
    socklen_t length = sizeof from;
    ssize_t got = ::recvfrom(sources_.packets, buffer_.data(), kLargestPacket,
                             MSG_DONTWAIT | MSG_TRUNC, reinterpret_cast<sockaddr*>(&from), &length);
    if (got <= 0) return;
    Packet packet;
    packet.link = LinkType::raw_ip;
    packet.direction =
        from.sll_pkttype == PACKET_OUTGOING ? Direction::outgoing : Direction::incoming;
    auto whole = static_cast<std::size_t>(got);
    packet.bytes = Bytes(buffer_).first(std::min(whole, kLargestPacket));
    packet.wire_length = static_cast<std::uint32_t>(whole);
    packet.via = static_cast<std::uint32_t>(from.sll_ifindex);
    feed({now(), packet});
  }
}

bool Engine::read_guard() {
  std::uint8_t buffer[wire::kReceiveBuffer];
  for (;;) {
    Fd passed;
    ssize_t got = receive_with(sources_.guard, buffer, sizeof buffer, passed);
    if (got < 0) return true;
    if (got == 0) return false;  // the guard is gone: its successor starts another engine
    auto message = wire::parse_from_guard({buffer, static_cast<std::size_t>(got)});
    wire::Header header;
    std::memcpy(&header, buffer, sizeof header);
    if (!message || header.sequence != from_guard_++) return false;
    if (std::holds_alternative<wire::Stop>(*message)) return false;
    if (const auto* given = std::get_if<wire::PolicyGiven>(&*message))
      if (!take_policy(*given, passed)) return false;
    if (const auto* held = std::get_if<wire::ExceptionsGiven>(&*message))
      if (!take_exceptions(*held, passed)) return false;
    if (const auto* asked = std::get_if<wire::RequestGiven>(&*message))
      if (!take_request(*asked, passed)) return false;
    if (const auto* ended = std::get_if<wire::HoldEnded>(&*message))
      if (!take_hold_ended(*ended, passed)) return false;
    if (const auto* found = std::get_if<wire::Process>(&*message))
      feed(event_of(found->exec, boot_to_wall_ns_));
    if (const auto* told = std::get_if<wire::CommandTold>(&*message)) outlet_.command(*told, now());
    if (const auto* seen = std::get_if<wire::Interface>(&*message))
      feed({now(), InterfaceSeen{seen->text(), seen->index}});
    if (const auto* removed = std::get_if<wire::HookRemoved>(&*message))
      feed({now(), HookRemoved{static_cast<HookRemoved::What>(removed->what), removed->name.data(),
                               removed->count, removed->open_ns, removed->sent,
                               removed->restored != 0, removed->problem.data()}});
    if (const auto* lost = std::get_if<wire::Lost>(&*message))
      feed({now(), Gap{counter_name(lost->counter), lost->lost}});
  }
}

// The kernel's rows are those of this policy already. What is in the ring was mostly told under the
// one before: it goes first. Every open flow is judged again, and its verdict told anew.
bool Engine::take_policy(const wire::PolicyGiven& given, const Fd& memory) {
  if (!memory || given.size > kMaxPolicy) return false;
  void* mapped = ::mmap(nullptr, given.size, PROT_READ, MAP_PRIVATE, memory.get(), 0);
  if (mapped == MAP_FAILED) return false;
  Result<Policy> policy =
      policy_from_bytes({static_cast<const std::uint8_t*>(mapped), std::size_t{given.size}});
  ::munmap(mapped, given.size);
  if (!policy || policy->number != given.number) return false;
  if (sources_.ring != nullptr) read_ring();
  wire::PolicyTaken taken;
  taken.number = given.number;
  guard_line_.tell(taken);
  feed({now(), PolicyChanged{std::make_shared<const Policy>(std::move(*policy))}});
  return true;
}

// All that hold from now on: open flows that one is about are judged again.
bool Engine::take_exceptions(const wire::ExceptionsGiven& given, const Fd& memory) {
  std::vector<std::uint8_t> bytes(given.size);
  if (!memory || given.size != sizeof(ExceptionTable) ||
      ::pread(memory.get(), bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
    return false;
  Result<ExceptionTable> table = ExceptionTable::read(bytes);
  if (!table) return false;
  if (sources_.ring != nullptr) read_ring();
  ExceptionsChanged changed;
  changed.exceptions = std::make_shared<const std::vector<Exception>>(exceptions_of(*table));
  const HostRelease& released = table->release.now;
  if (released.holds != 0) {
    changed.released_until_boot_ns = static_cast<std::int64_t>(released.until_boot_ns);
    changed.released_by = released.asked.data();
  }
  changed.after_crashes = static_cast<ExceptionsChanged::AfterCrashes>(given.after_crashes);
  feed({now(), changed});
  return true;
}

bool Engine::take_request(const wire::RequestGiven& given, const Fd& memory) {
  std::vector<std::uint8_t> bytes(given.size);
  if (!memory ||
      ::pread(memory.get(), bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
    return false;
  outlet_.request(bytes);
  return true;
}

// What is in the ring goes first: that the flow began to wait among it. The text is a person's.
bool Engine::take_hold_ended(const wire::HoldEnded& ended, const Fd& memory) {
  std::string said(ended.size, '\0');
  if (ended.size != 0 && (!memory || ::pread(memory.get(), said.data(), said.size(), 0) !=
                                         static_cast<ssize_t>(said.size())))
    return false;
  if (sources_.ring != nullptr) read_ring();
  feed(event_of(ended, shown(said), now()));
  return true;
}

void Engine::each_second() {
  Stamp at = now();
  second_ns_ = at.boot_ns + kSecondNs;
  feed({at, Tick{}});
  wire::Beat beat;
  beat.boot_ns = static_cast<std::uint64_t>(at.boot_ns);
  guard_line_.tell(beat);
  if (sources_.utmp >= 0) read_logins();
  outlet_.tell_spool_losses();
  if (log_ != nullptr) log_->flush();
}

void Engine::read_logins() {
  ssize_t got = ::pread(sources_.utmp, buffer_.data(), kUtmpBytes, 0);
  if (got <= 0) return;
  std::vector<Login> logins = logins_in({buffer_.data(), static_cast<std::size_t>(got)});
  for (const LoginChange& change : changes(logins_, logins)) {
    Session session;
    session.kind = change.kind;
    for (const auto& [name, person] : facts_.accounts)
      if (name == change.login.user) session.person = person;
    session.audit_session = static_cast<std::uint32_t>(change.login.session);
    session.seat = change.login.seat;
    session.remote = change.login.remote;
    session.origin = "utmp";
    Event event{now(), session};
    feed(event);
    outlet_.session(session, event.at);
  }
  logins_ = std::move(logins);
}

}  // namespace weir
