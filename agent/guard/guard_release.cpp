// The guard: a host is released by a spoken answer, only observes for a while, and enforces again.
// See guard.h and docs/decisions/0032.
#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "agent/guard/descriptors.h"
#include "agent/guard/guard.h"
#include "core/base/command_id.h"
#include "platform/linux/boot_clock.h"

namespace weir {
namespace {

constexpr std::uint64_t kSecondNs = 1'000'000'000;
constexpr std::uint64_t kObservesNs = 600 * kSecondNs;

}  // namespace

void Guard::hear_releases(std::uint64_t now) {
  ReleaseClaim claim;
  if (::recv(fds::kReleases, &claim, sizeof claim, MSG_DONTWAIT) != sizeof claim) return;
  const Now at{wall_s(), now, boot_};
  NextRelease next = next_release(exceptions_->release, claim, offers_->trust(), at);
  release_->number = claim.number;
  release_->keys = next.keys;
  if (next.why != ReleaseRefusal::none) return answer_release(next.why);
  release_->next = std::make_unique<ExceptionTable>(*exceptions_);
  release_->next->release = next.state;
  release_->next->isolation = {};  // it ends with it
  if (!release_->line.ask(KeptFile::exceptions, release_->next->bytes(), now))
    answer_release(ReleaseRefusal::failed);
}

// It stands on the disk, with what is left of it for another boot, or it does not.
void Guard::hear_release_kept(std::uint64_t now) {
  const std::optional<bool> kept = release_->line.hear(now);
  if (!kept) return;
  const std::unique_ptr<ExceptionTable> next = std::exchange(release_->next, nullptr);
  const bool is_new = release_->number != 0;
  release_->write_ns = now + (*kept ? kReleaseStepS : 1) * kSecondNs;
  if (!*kept) {
    fmt::print(stderr, "weir-guard: what is left of a release can't be written to the disk\n");
    if (is_new) answer_release(ReleaseRefusal::failed);
    return;
  }
  const Result<void> taken =
      is_new ? take_exceptions(*next) : take_release(next->release, now);  // the rest may be newer
  if (!taken) {
    fmt::print(stderr, "weir-guard: {}\n", taken.error().sentence);
    commands_->owe_table();  // the disk is to say what holds
    if (is_new) answer_release(ReleaseRefusal::failed);
    return;
  }
  if (!is_new) return;
  answer_release(ReleaseRefusal::none);
  tell_host_facts();
  CommandEnded ended;
  ended.id = next->release.now.id;
  ended.verb = kReleaseVerb;
  ended.outcome = wire::CommandOutcome::done;
  ended.keys = release_->keys;
  ended.asked = next->release.now.asked.data();
  record(ended);
}

void Guard::answer_release(ReleaseRefusal why) {
  ++(why == ReleaseRefusal::none ? counters_.releases : counters_.releases_refused);
  ReleaseReply reply{std::exchange(release_->number, 0), static_cast<std::uint32_t>(why),
                     kReleaseS};
  if (why != ReleaseRefusal::none) release_->next = nullptr;
  (void)!::send(fds::kReleases, &reply, sizeof reply, MSG_DONTWAIT | MSG_NOSIGNAL);
}

// In the kernel as it stands on the disk. Of another boot: once the disk says that this one has it.
// An Error: it is as it was.
Result<void> Guard::take_release(const ReleaseState& next, std::uint64_t now) {
  const ReleaseState past = exceptions_->release;
  const HostRelease& before = past.now;
  exceptions_->release = next;
  HostRelease& held = exceptions_->release.now;
  const bool is_here = held.boot == boot_;
  if (is_here && released_until(held, {wall_s(), now, boot_}) == 0) held = {};
  if (auto set = set_observing(now); !set) {
    exceptions_->release = past;
    return set;
  }
  if (held.holds != 0 && is_here && before.id != held.id)
    fmt::print(stderr, "weir-guard: this host is released for {} s: it only observes ({})\n",
               (held.until_boot_ns - now) / kSecondNs, held.asked.data());
  if (held.holds == 0 && before.holds != 0)
    fmt::print(stderr, "weir-guard: this host is not released any more\n");
  return {};
}

// Why the kernel refuses nothing: a release, or crashes. What ends later counts.
Result<void> Guard::set_observing(std::uint64_t now) {
  const HostRelease& held = exceptions_->release.now;
  std::uint64_t until = held.boot == boot_ ? released_until(held, {wall_s(), now, boot_}) : 0;
  if (after_crashes_ == AfterCrashes::observes) until = std::max(until, now + kObservesNs);
  const std::uint64_t before = kernel_.state().observed_until;
  if (until == before || (until == 0 && before <= now)) return {};
  if (auto set = kernel_.observe(until); !set) return set;
  to_give_exceptions_ = true;
  if (before <= now) {
    *due_ = DueSockets();
    forget_holds();
  }
  return {};
}

// Not by a command: it is tried again within a second, or the kernel's own time ends it.
void Guard::observe_on(std::uint64_t now) {
  if (auto set = set_observing(now); !set)
    fmt::print(stderr, "weir-guard: {}\n", set.error().sentence);
}

// Once a second: it ends, or what is left of it is written down.
void Guard::keep_release(std::uint64_t now) {
  if (!release_ || exceptions_->release.now.holds == 0) return;
  const Now at{wall_s(), now, boot_};
  HostRelease next = written_release(exceptions_->release.now, at);
  if (next.holds == 0) {
    exceptions_->release.now = {};
    observe_on(now);
    to_give_exceptions_ = true;
    tell_host_facts();
    fmt::print(stderr, "weir-guard: the release of this host is over\n");
    return;
  }
  const bool is_here = exceptions_->release.now.boot == boot_;
  if ((is_here && now < release_->write_ns) || is_keeping()) return;
  release_->next = std::make_unique<ExceptionTable>(*exceptions_);
  release_->next->release.now = next;
  (void)release_->line.ask(KeptFile::exceptions, release_->next->bytes(), now);
}

// One answer of the keeper at a time.
bool Guard::is_keeping() const {
  return (commands_ && commands_->busy()) || (rotation_ && rotation_->busy()) ||
         (release_ && release_->line.waits());
}

// ---- after crashes (docs/decisions/0035)
// ----------------------------------------------------------

void Guard::note_crash(std::uint64_t now) {
  if (!crashes_count_ || after_crashes_ == AfterCrashes::observes || !crashes_.add(now)) return;
  crashes_too_often_ = true;
  fmt::print(stderr, "weir-guard: the engine crashed three times within a minute\n");
}

// While a guard lives: should all of us be gone, it is enforced again.
void Guard::keep_observing(std::uint64_t now) {
  if (after_crashes_ == AfterCrashes::observes &&
      kernel_.state().observed_until < now + kObservesNs / 2)
    observe_on(now);
}

void Guard::end_after_crashes() {
  if (after_crashes_ == AfterCrashes::none) return;
  after_crashes_ = AfterCrashes::none;
  to_give_exceptions_ = true;
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  observe_on(static_cast<std::uint64_t>(now.tv_sec) * kSecondNs +
             static_cast<std::uint64_t>(now.tv_nsec));
  tell_host_facts();
}

bool Guard::is_released(std::uint64_t now) const {
  return now < kernel_.state().observed_until;
}

}  // namespace weir
