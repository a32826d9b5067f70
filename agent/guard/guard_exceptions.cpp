// The guard: exceptions come into force, outlive it and end; what persons ask for goes on to the
// engine unread. See guard.h.
#include <fmt/format.h>
#include <sys/socket.h>

#include <cstdio>
#include <memory>

#include "agent/guard/descriptors.h"
#include "agent/guard/guard.h"
#include "core/base/fixed_text.h"
#include "platform/files/fd.h"
#include "platform/files/passing.h"
#include "platform/linux/boot_clock.h"

namespace weir {
namespace {

constexpr int kSend = MSG_DONTWAIT | MSG_NOSIGNAL;
constexpr std::uint32_t kRequestsAtOnce = 16;

// Of the whole host: who asked for it, and until when.
template <class Held>
void put_host_lease(wire::HostFactsMessage& facts, std::uint32_t kind, const Held& held) {
  wire::HostFactsMessage::Lease& one = facts.lease[facts.leases++];
  one.id = held.id;
  one.kind = kind;
  one.until_wall_s = wall_s() + (static_cast<std::int64_t>(held.until_boot_ns) -
                                 static_cast<std::int64_t>(boot_now_ns())) /
                                    1'000'000'000;
  put_text(one.to, held.asked.data());
}

}  // namespace

// What begins in the kernel's accounts. An Error: nothing did.
Result<void> Guard::grant_new(const ExceptionTable& next) {
  for (const HeldLease& lease : next.in_force()) {
    if (exceptions_->holds(lease.number)) continue;
    KernelException granted;
    granted.number = lease.number;
    granted.person = lease.what.person;
    granted.bytes = lease.what.bytes;
    granted.until_boot_ns = lease.until_boot_ns;
    if (auto granting = kernel_.grant(granted); !granting) {
      (void)end_grants(next, *exceptions_);
      return granting;
    }
  }
  return {};
}

// The accounts of those that the other table has not. An Error: of one of them, which goes on.
Result<void> Guard::end_grants(const ExceptionTable& of, const ExceptionTable& but) {
  Result<void> all;
  for (const HeldLease& lease : of.in_force())
    if (!but.holds(lease.number))
      if (auto ended = kernel_.end_grant(lease.what.person, lease.number); !ended) all = ended;
  return all;
}

// The kernel becomes as `next` says, or an Error: it is as it was, and so are we. What ends is
// last: what was spent of it is not to be had again.
Result<void> Guard::take_exceptions(const ExceptionTable& next) {
  const std::uint64_t now = boot_now_ns();
  const auto before = std::make_unique<ExceptionTable>(*exceptions_);
  if (auto granted = grant_new(next); !granted) return granted;
  Result<void> taken = take_blocks(next.blocks, now);
  if (taken) taken = take_isolation(next.isolation, now);
  if (taken) taken = take_release(next.release, now);
  if (taken) taken = end_grants(*before, next);
  if (!taken) {
    (void)take_release(before->release, now);
    (void)take_isolation(before->isolation, now);
    (void)take_blocks(before->blocks, now);
    (void)end_grants(next, *before);
    exceptions_->places = before->places;
    return taken;
  }
  for (const HeldLease& lease : next.in_force())
    counters_.exceptions += before->holds(lease.number) ? 0 : 1;
  const auto made = std::make_unique<ExceptionTable>(next);
  made->isolation = exceptions_->isolation;  // with their ends in this boot
  made->blocks = exceptions_->blocks;
  made->release = exceptions_->release;
  made->places = exceptions_->places;  // newer than the command
  *exceptions_ = *made;
  to_give_exceptions_ = true;
  return {};
}

// Who asked for what is refused hears that.
void Guard::take_answers(const ExceptionTable& next) {
  exceptions_->answers = next.answers;
  exceptions_->answer = next.answer;
  to_give_exceptions_ = true;
}

// In the kernel as it stands on the disk. Nothing that was sent before is called back. What the
// loader put there after a reboot came of the same file, a moment ago. An Error: it is as it was.
Result<void> Guard::take_isolation(const HostIsolation& next, std::uint64_t now) {
  const std::uint64_t before = kernel_.state().isolated_until;
  const std::uint64_t until = isolated_until(next, {wall_s(), now, boot_}, before);
  if (until != before)
    if (auto set = kernel_.isolate(until); !set) return set;
  exceptions_->isolation = until != 0 ? next : HostIsolation{};
  exceptions_->isolation.until_boot_ns = until;
  exceptions_->isolation.boot = boot_;
  if (until == before) return {};
  if (until == 0)
    fmt::print(stderr, "weir-guard: this host is not isolated any more\n");
  else
    fmt::print(stderr, "weir-guard: this host is isolated for another {} s ({})\n",
               (until - now) / 1'000'000'000, next.asked.data());
  return {};
}

// Of a former guard: one goes on only with its account, which says what was spent of it. So none
// outlives a boot, or pins that were released.
void Guard::adopt_exceptions(const ExceptionTable& before, std::uint64_t now) {
  *exceptions_ = before;
  exceptions_->blocks = {};  // until take_blocks()
  exceptions_->places.cap(wall_s());
  for (const HeldLease& lease : before.in_force())
    if (lease.until_boot_ns <= now || !kernel_.left_of_grant(lease.what.person, lease.number))
      exceptions_->remove(lease.number);
  if (auto taken = take_isolation(before.isolation, now); !taken) {
    fmt::print(stderr, "weir-guard: {}\n", taken.error().sentence);
    exceptions_->isolation = {};
  }
  adopt_blocks(before.blocks, now);
  if (auto taken = take_release(before.release, now); !taken) {
    fmt::print(stderr, "weir-guard: {}\n", taken.error().sentence);
    exceptions_->release.now = {};
  }
  Result<std::vector<KernelAccount>> accounts = kernel_.accounts();
  if (!accounts) return;
  for (const KernelAccount& account : *accounts)
    if (account.key.limit == WEIR_EXCEPTIONS &&
        !exceptions_->holds(static_cast<std::uint32_t>(account.key.dest)))
      (void)kernel_.end_grant(static_cast<std::uint32_t>(account.key.who),
                              static_cast<std::uint32_t>(account.key.dest));
}

void Guard::end_exceptions(std::uint64_t now) {
  if (exceptions_->isolation.holds != 0 && exceptions_->isolation.until_boot_ns <= now) {
    if (take_isolation({}, now)) {
      to_give_exceptions_ = true;
      tell_host_facts();
    }
  }
  end_blocks(now);
  const ExceptionTable before = *exceptions_;
  for (const HeldLease& lease : before.in_force()) {
    if (lease.until_boot_ns > now) continue;
    (void)kernel_.end_grant(lease.what.person, lease.number);
    exceptions_->remove(lease.number);
    to_give_exceptions_ = true;
  }
}

void Guard::give_exceptions() {
  if (!engine_listens() || to_give_) return;
  Result<SealedMemory> memory = SealedMemory::make("weir-exceptions", exceptions_->bytes());
  if (!memory) return;
  wire::ExceptionsGiven message;
  message.size = static_cast<std::uint32_t>(memory->bytes().size());
  message.after_crashes = static_cast<std::uint32_t>(after_crashes_);
  Bytes bytes = wire::seal(message, sequence_);
  to_give_exceptions_ = !send_with(engine_, bytes, memory->fd(), kSend);
  if (to_give_exceptions_) --sequence_;  // its queue is full: in a moment
}

void Guard::put_leases(wire::HostFactsMessage& facts) const {
  if (const HostIsolation& held = exceptions_->isolation; held.holds != 0)
    put_host_lease(facts, wire::HostFactsMessage::kIsolates, held);
  if (after_crashes_ == AfterCrashes::observes)
    facts.lease[facts.leases++].kind = wire::HostFactsMessage::kCrashed;
  if (const HostRelease& held = exceptions_->release.now; held.holds != 0)
    put_host_lease(facts, wire::HostFactsMessage::kReleases, held);
  put_blocks(facts);
  for (const HeldLease& held : exceptions_->in_force()) {
    wire::HostFactsMessage::Lease& one = facts.lease[facts.leases++];
    one.id = held.id;
    one.person = held.what.person;
    one.bytes = held.what.bytes;
    one.left = kernel_.left_of_grant(held.what.person, held.number).value_or(0);
    one.until_wall_s = held.until_wall_s;
    one.by_name = held.what.domain.front() != '\0' ? 1 : 0;
    put_text(one.to, place_of(held.what));
    put_text(one.rule, held.what.rule[0].data());
  }
}

// `weir run` made sure that it is sealed; the engine reads it.
void Guard::hear_requests() {
  for (std::uint32_t n = 0; n < kRequestsAtOnce; ++n) {
    Fd passed;
    std::uint32_t size = 0;
    if (receive_with(fds::kRequests, &size, sizeof size, passed) != sizeof size) return;
    if (!passed || size == 0 || size > wire::kMaxRequestBytes) continue;
    ++counters_.requests;
    if (engine_listens()) {
      wire::RequestGiven message;
      message.size = size;
      Bytes bytes = wire::seal(message, sequence_);
      if (send_with(engine_, bytes, passed.get(), kSend)) continue;
      --sequence_;
    }
    ++counters_.requests_lost;
  }
}

}  // namespace weir
