// The guard: see guard.h.
#include "agent/guard/guard.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <malloc.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

#include "agent/guard/descriptors.h"
#include "core/event/report.h"
#include "platform/linux/boot_clock.h"
#include "platform/linux/launchers.h"

namespace weir {
namespace {

constexpr std::uint64_t kSecondNs = 1'000'000'000;
constexpr std::uint64_t kFirstBackoffNs = 100'000'000;
constexpr std::uint64_t kLongestBackoffNs = 10 * kSecondNs;
constexpr std::uint64_t kSteadyNs = 60 * kSecondNs;  // an engine that ran that long starts afresh
// Policy, catalogue and seal take well below a second; a loaded machine gets ten.
constexpr std::uint64_t kStartNs = 10 * kSecondNs;
constexpr int kLastWordsMs = 5000;    // `weir run` gives us 8 s
constexpr int kMessagesAtOnce = 256;  // between two looks at the refusals
constexpr std::size_t kTasksAtOnce = 64;
constexpr std::uint64_t kLaunchersNs = 10 * kSecondNs;  // an upgrade puts another file there
// Counters whose growth the line must know as a gap.
constexpr weir_counter kLosses[] = {WEIR_COUNT_RING_LOST, WEIR_COUNT_TOLD_LOST,
                                    WEIR_COUNT_TASKS_FULL, WEIR_COUNT_ACCOUNTS_FULL,
                                    WEIR_COUNT_STORAGE_FULL};

// A former guard's accounts go on where a row means the same; else those that the disk knows.
Result<void> put_in_force(KernelPart& kernel, const FlatPolicy& policy,
                          std::span<const weir_limit> rows, const KernelPast* past,
                          const ExceptionTable& exceptions) {
  weir_state state = policy.header->state;
  state.verdict_wait_ns = 0;  // until an engine answers nobody waits for it
  std::vector<std::pair<Prefix, weir_prefix>> prefixes;
  if (auto set = kernel.set_refuges(refuges_of(policy)); !set) return set;
  for (const FlatPrefix& row : policy.prefixes)
    prefixes.emplace_back(prefix_of(row.key.address, row.key.length), row.value);
  if (!kernel.adopted()) {  // of the boot before
    const std::size_t own = prefixes.size();
    const std::vector<KernelShut> shuts = kernel.shuts();
    for (const BlockedPlace& one : exceptions.places.all()) {
      const Prefix place{{one.address}, 128};
      const bool blocked = std::ranges::any_of(shuts, [&](const KernelShut& shut) {
        return std::ranges::find(shut.names, one.name) != shut.names.end();
      });
      if (blocked && left_s(one, wall_s()) > 0 &&
          std::ranges::none_of(prefixes, [&](const auto& other) { return other.first == place; }))
        prefixes.emplace_back(place, shut_prefix(std::span(prefixes).first(own), place, one.name,
                                                 state.unclassified));
    }
  }
  return kernel.replace({rows, prefixes, state, kernel.adopted() ? nullptr : past});
}

// What it can't be laid at, "" if it is; nothing: none is wanted.
std::optional<std::string> lay_first_floor(KernelPart& kernel, const GuardOptions& options) {
  if (!options.cgroup.empty() && options.interfaces.empty()) return std::nullopt;
  auto laid = kernel.set_floor(devices_to_the_world(options.interfaces));
  return laid ? "" : laid.error().sentence;
}

std::vector<std::string> all_launchers(const std::vector<std::string>& declared) {
  std::vector<std::string> all = usual_launchers();
  all.insert(all.end(), declared.begin(), declared.end());
  return all;
}

}  // namespace

Guard::Guard(KernelPart kernel, PolicyInForce policy, std::optional<PolicyTrust> trust,
             const DoneCommands& done)
    : kernel_(std::move(kernel)),
      policy_(std::move(policy)),
      uplink_(trust.has_value()),
      since_wall_s_(wall_s()),
      state_(kernel_.state()) {
  if (trust) {
    offers_.emplace(std::move(*trust));
    commands_.emplace(done, boot_now_ns());
    rotation_.emplace(boot_now_ns() | 1ull << 63);  // its questions have numbers of their own
    release_ = std::make_unique<ReleaseSide>(
        ReleaseSide{KeepLine(boot_now_ns() | 1ull << 62), {}, 0, {}, 0});
  }
  tell_host_facts();
  tell_policy_state();
  watch_interfaces();
  struct stat line {};
  hears_answers_ = ::fstat(fds::kAnswers, &line) == 0 && S_ISSOCK(line.st_mode);
}

tl::expected<Guard, NotLoaded> Guard::load(const GuardOptions& options, PolicyInForce policy,
                                           std::optional<PolicyTrust> trust,
                                           const DoneCommands& done,
                                           const ExceptionTable& exceptions,
                                           const KernelPast* past) {
  KernelOptions wanted;
  wanted.cgroup = options.cgroup;
  wanted.pin_dir = options.pin_dir;
  wanted.launchers = all_launchers(options.launchers);
  wanted.isolated_until_boot_ns =
      isolated_until(exceptions.isolation, {wall_s(), boot_now_ns(), boot_id()}, std::nullopt);
  wanted.shuts = shuts_of(taken(exceptions.blocks, {wall_s(), boot_now_ns(), boot_id()}, nullptr));
  Result<KernelPart> kernel = KernelPart::load(wanted);
  ::malloc_trim(0);  // what loading took stays locked in memory else
  if (!kernel) return tl::unexpected(kernel.error());
  const std::optional<std::string> floor_problem = lay_first_floor(*kernel, options);
  const Result<void> can = check_host(policy.flat, {kernel->programs(), floor_problem.has_value(),
                                                    past != nullptr, floor_problem.value_or("")});
  // One that was in force before, on another kernel or under another version, stays: no bound at
  // all would be worse.
  if (!can && !policy.accepted && !options.again && kernel->state().swapping == 0) {
    if (!kernel->adopted() && !options.pin_dir.empty()) (void)KernelPart::release(options.pin_dir);
    return tl::unexpected(NotLoaded(can.error(), true));
  }
  // Nobody could say how far an account may get: it counts until the next boot.
  const bool keeps = past != nullptr && has_program(kernel->programs(), "weir_keep");
  std::vector<weir_limit> rows{policy.flat.header->table,
                               policy.flat.header->table + policy.flat.header->limits};
  if (keeps) mark_kept_rows(rows);
  if (auto set = put_in_force(*kernel, policy.flat, rows, past, exceptions); !set)
    return tl::unexpected(set.error());
  // Of another version: until here its bound held.
  if (!options.pin_dir.empty())
    if (auto forgot = KernelPart::forget_other_layouts(options.pin_dir); !forgot)
      return tl::unexpected(forgot.error());
  if (!options.uplink_cgroup.empty())
    if (auto set = kernel->set_home(options.uplink_cgroup, 0); !set)
      return tl::unexpected(set.error());
  Guard guard(std::move(*kernel), std::move(policy), std::move(trust), done);
  guard.launchers_ = options.launchers;
  guard.collector_ = options.collector;
  guard.has_floor_ = floor_problem.has_value();
  guard.floor_names_ = options.interfaces;
  guard.keeps_ = past != nullptr;
  if (keeps) {
    guard.kept_ = std::make_unique<KeptSide>();
    guard.kept_->line = KeepLine(boot_now_ns(), fds::kKeepAccounts);
  }
  guard.crashes_count_ = options.after_crashes.has_value();
  guard.after_crashes_ = options.after_crashes.value_or(AfterCrashes::none);
  guard.crashed_ = options.crashed;
  if (guard.crashed_) guard.refused_ = {wire::Refusal::crashed, guard.crashed_->number, ""};
  if (!can) {
    fmt::print(stderr, "weir-guard: the policy in force can't hold whole: {}\n",
               can.error().sentence);
    guard.refused_ = {wire::Refusal::host_lacks, guard.policy_.flat.header->policy_number,
                      can.error().sentence};
    guard.floor_told_ = floor_problem && !floor_problem->empty();
  }
  guard.tell_policy_state();
  guard.controls_ = ControlWatch(options.try_every_s * kSecondNs, boot_now_ns());
  guard.lay_floor();
  guard.adopt_exceptions(exceptions, boot_now_ns());
  guard.lease_places(boot_now_ns());
  guard.adopt_holds(boot_now_ns());
  guard.look_at_hooks(boot_now_ns());
  return guard;
}

bool Guard::run(Spawner& spawner, int signal_fd, int ready_fd) {
  ready_fd_ = ready_fd;
  start_at_ns_ = second_ns_ = boot_now_ns();
  for (;;) {
    std::uint64_t now = boot_now_ns();
    if (!running_ && now >= start_at_ns_) start_engine(spawner, now);
    uplink_.tend(spawner, now);
    const bool may_offer = may_hear_offers();
    // What persons ask for waits in the socket while there is no engine that would spool it.
    const bool listens = offers_ && engine_listens();
    const bool may_release = release_ && !is_keeping();
    pollfd wanted[12] = {{signal_fd, POLLIN, 0},
                         {kernel_.told_poll_fd(), POLLIN, 0},
                         {spawner.fd(), POLLIN, 0},
                         {engine_, POLLIN, 0},
                         {may_offer ? uplink_.fd() : -1, POLLIN, 0},
                         {interfaces_->fd(), POLLIN, 0},
                         {waits_for_keeper() ? fds::kKeep : -1, POLLIN, 0},
                         {listens ? fds::kRequests : -1, POLLIN, 0},
                         {kept_ && kept_->line.waits() ? fds::kKeepAccounts : -1, POLLIN, 0},
                         {may_release ? fds::kReleases : -1, POLLIN, 0},
                         {hears_answers_ ? fds::kAnswers : -1, POLLIN, 0},
                         {controls_.fd(), POLLIN, 0}};
    if (::poll(wanted, 12, wait_ms(now)) < 0 && errno != EINTR) return true;
    now = boot_now_ns();
    hear_told(now);
    keep_accounts(now);
    destroy_due(now);
    if ((wanted[10].revents & POLLIN) != 0) hear_answers(now);
    end_due_holds(now);
    if (wanted[5].revents != 0) tell_interfaces();
    if (engine_ >= 0 && wanted[3].revents != 0) hear_engine(now);
    kernel_.wake();
    if (ending_) end_engine(spawner);
    if (wanted[2].revents != 0) hear_spawner(spawner, now);
    if ((wanted[9].revents & POLLIN) != 0) hear_releases(now);
    if (wanted[4].revents != 0 && may_hear_offers()) hear_uplink(spawner, now);
    if (wanted[6].revents != 0) hear_keeper(now);
    if ((wanted[7].revents & POLLIN) != 0) hear_requests();
    if (wanted[11].revents != 0) hear_canary(now);
    if (to_give_) give_policy();
    if (to_give_exceptions_) give_exceptions();
    if (!hold_ends_.empty()) tell_hold_ends();
    if (now >= second_ns_) each_second(spawner, now);
    if (told_ < to_tell_.size()) tell_processes();
    signalfd_siginfo signal{};
    if (wanted[0].revents != 0 && ::read(signal_fd, &signal, sizeof signal) == sizeof signal) break;
    if (crashes_too_often_) break;
  }
  // The engine flushes its last revisions; without it nobody waits for a verdict any more.
  uplink_.stop();
  const std::uint64_t until = boot_now_ns() + kLastWordsMs * 1'000'000ull;
  if (tell(wire::Stop{}))
    while (running_ && boot_now_ns() < until) {  // the uplink's end may be told before the engine's
      pollfd end{spawner.fd(), POLLIN, 0};
      ::poll(&end, 1, kLastWordsMs);
      std::optional<Spawner::Ended> ended = spawner.ended();
      running_ = !spawner.is_gone() && !(ended && ended->role == Role::engine);
    }
  engine_may_answer(false);
  if (!crashes_too_often_) end_after_crashes();
  return !crashes_too_often_;
}

// One offer at a time, of whatever kind, and the next when the engine runs by the last policy.
bool Guard::may_hear_offers() const {
  return offers_ && !offers_->busy() && !is_keeping() && !to_give_ &&
         (!session_ || session_->is_taken());
}

bool Guard::waits_for_keeper() const {
  return (commands_ && commands_->busy() && !commands_->reads()) ||
         (rotation_ && rotation_->busy() && !rotation_->reads()) ||
         (release_ && release_->line.waits());
}

int Guard::wait_ms(std::uint64_t now) const {
  std::uint64_t until = second_ns_;
  if (auto due = due_->next_due_ns()) until = std::min(until, *due);
  if (auto due = held_->next_due_ns()) until = std::min(until, *due);
  if (!running_) until = std::min(until, start_at_ns_);
  until = std::min(until, uplink_.due_ns());
  if (kept_ && kept_->due && !kept_->line.waits()) until = std::min(until, kept_->next_ns);
  if (told_ < to_tell_.size() || to_give_ || to_give_exceptions_)
    until = std::min(until, now + kSecondNs / 1000);
  return until <= now ? 0 : static_cast<int>((until - now) / 1'000'000 + 1);
}

void Guard::hear_told(std::uint64_t now) {
  kernel_.poll_told([this, now](const weir_refused& refused) {
    if (refused.record.kind == WEIR_REC_HELD) return hear_held(refused, now);
    const bool enforces = policy_.flat.header->enforce != 0;
    bool destroys = refused.account.limit < WEIR_LIMITS &&
                    ((policy_.flat.header->no_hold_rows >> refused.account.limit & 1) != 0 ||
                     (enforces && refused.account.limit == WEIR_EXCEPTIONS &&
                      !exceptions_->is_of_another(static_cast<std::uint32_t>(refused.account.dest),
                                                  refused.record.person)));
    if (destroys && !is_released(now)) due_->refused(refused, now);
  });
  if (kernel_.take_asked() && kept_) kept_->due = true;
}

void Guard::destroy_due(std::uint64_t now) {
  while (std::optional<weir_refused> socket = due_->take_due(now)) {
    if (destroy_socket(socket->tuple, socket->record.cookie))
      ++counters_.destroyed;
    else
      ++counters_.not_destroyed;
  }
}

// ---- the engine ---------------------------------------------------------------------------------

void Guard::start_engine(Spawner& spawner, std::uint64_t now) {
  backoff_ns_ = std::clamp(backoff_ns_ * 2, kFirstBackoffNs, kLongestBackoffNs);
  start_at_ns_ = now + backoff_ns_;
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0) return;
  Result<int> ring = kernel_.events_fd();
  const int fds[] = {pair[1], ring ? *ring : -1, policy_.policy_fd};
  if (ring && spawner.spawn(Role::engine, fds)) {
    engine_ = pair[0];
    session_.emplace(policy_.flat.rows());
    shut_before_ = kernel_.shut_verdicts();
    sequence_ = 0;
    to_give_ = false;  // it starts with the policy in force
    running_ = true;
    ended_by_us_ = false;
    started_ns_ = now;
    ++counters_.engines;
  } else {
    ::close(pair[0]);
  }
  ::close(pair[1]);
  if (ring) ::close(*ring);
}

void Guard::hear_engine(std::uint64_t now) {
  std::uint8_t buffer[wire::kReceiveBuffer];
  for (int n = 0; n < kMessagesAtOnce; ++n) {
    ssize_t got = ::recv(engine_, buffer, sizeof buffer, MSG_DONTWAIT);
    if (got < 0) return;  // nothing more, or its end: the spawner tells that
    if (got == 0) {
      ending_ = true;
      return;
    }
    bool was_ready = session_->ready();
    auto message = session_->on({buffer, static_cast<std::size_t>(got)}, now);
    if (!message) {
      ++counters_.damage[static_cast<std::size_t>(message.error())];
      fmt::print(stderr, "weir-guard: the engine sent nonsense ({}): it is started again\n",
                 wire::name_of(message.error()));
      ending_ = ended_by_us_ = true;
      return;
    }
    if (!was_ready) engine_may_answer(true);
    std::visit([this, now](const auto& known) { obey(known, now); }, *message);
  }
}

void Guard::engine_may_answer(bool may) {
  state_.verdict_wait_ns = may ? policy_.flat.header->state.verdict_wait_ns : 0;
  (void)kernel_.set_state(state_);
  if (!may) return;
  if (ready_fd_ >= 0) {
    (void)!::write(ready_fd_, "r", 1);
    ::close(std::exchange(ready_fd_, -1));
  }
  interfaces_->forget_told();
  tell_interfaces();
  // A new engine knows nobody: it is told who runs. The one allocation after the start.
  if (Result<std::vector<KernelTask>> tasks = kernel_.tasks()) to_tell_ = std::move(*tasks);
  told_ = 0;
  to_give_exceptions_ = true;
}

void Guard::end_engine(Spawner& spawner) {
  ending_ = false;
  if (!running_) return;
  spawner.kill(Role::engine);
  if (engine_ >= 0) ::close(std::exchange(engine_, -1));
  engine_may_answer(false);
}

void Guard::hear_spawner(Spawner& spawner, std::uint64_t now) {
  std::optional<Spawner::Ended> ended = spawner.ended();
  if (spawner.is_gone())
    ::_exit(1);  // no engine could ever be started again: `weir run` starts us anew
  if (!ended) return;
  if (ended->role == Role::uplink) return uplink_.ended(ended->status, now);
  if (ended->role == Role::compile) return take_compiled(ended->status, now);
  if (ended->role == Role::read_command) return take_command(ended->status, now);
  if (ended->role == Role::read_trust) return take_trust(ended->status, now);
  if (ended->role == Role::canary) return controls_.ended();
  if (engine_ >= 0) ::close(std::exchange(engine_, -1));
  if (!ended_by_us_ && is_crash(ended->status)) note_crash(now);
  running_ = ending_ = false;
  engine_may_answer(false);
  if (now - started_ns_ > kSteadyNs) backoff_ns_ = 0;
  start_at_ns_ = now + std::max(backoff_ns_, kFirstBackoffNs);
  fmt::print(stderr,
             "weir-guard: the engine ended (status {}); the bound holds, it is started again\n",
             ended->status);
}

void Guard::each_second(Spawner& spawner, std::uint64_t now) {
  second_ns_ = now + kSecondNs;
  (void)kernel_.expire_blocks(now);
  (void)kernel_.forget_idle_accounts(now);
  end_exceptions(now);
  keep_release(now);
  keep_observing(now);
  while (std::optional<Prefix> ended = leases_->take_ended(now))
    if (!lease_place(*ended, now)) (void)kernel_.remove_prefix(*ended);
  tell_losses();
  if (const std::uint64_t lost = kernel_.counters()[WEIR_COUNT_TOLD_LOST];
      std::exchange(told_lost_, lost) != lost)
    adopt_holds(now);
  if (offers_ && offers_->is_late(now)) spawner.kill(Role::compile);
  if (commands_ && commands_->is_late(now)) spawner.kill(Role::read_command);
  if (rotation_ && rotation_->is_late(now)) spawner.kill(Role::read_trust);
  hear_keeper(now);  // an answer that is late
  if (commands_ && !is_keeping()) commands_->settle(*exceptions_, now);
  tell_commands();
  if (policy_.accepted && !expired_ && policy_.accepted->view.header->expires_wall_s <= wall_s()) {
    expired_ = true;
    tell_policy_state();
  }
  tell_interfaces();
  look_at_hooks(now);
  controls_.tend(spawner, now);
  if (now >= launchers_ns_) {
    launchers_ns_ = now + kLaunchersNs;
    (void)kernel_.set_launchers(all_launchers(launchers_));
  }
  if (!running_) return;
  bool ready = session_ && session_->ready();
  std::uint64_t heard = ready ? session_->last_heard_ns() : started_ns_;
  if (now - heard < (ready ? wire::kSilentNs : kStartNs)) return;
  ++counters_.silent;
  ended_by_us_ = true;  // no crash: a busy machine and a suspended one look the same
  fmt::print(stderr, "weir-guard: the engine is silent: it is started again\n");
  end_engine(spawner);
}

template <class M>
bool Guard::tell(M message) {
  if (!engine_listens()) return false;
  Bytes bytes = wire::seal(message, sequence_);
  if (::send(engine_, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL) ==
      static_cast<ssize_t>(bytes.size()))
    return true;
  --sequence_;  // it was not heard: the next one has its number
  return false;
}

template bool Guard::tell(wire::CommandTold);  // guard_commands.cpp
template bool Guard::tell(wire::HookRemoved);  // guard_hooks.cpp

void Guard::tell_processes() {
  for (std::size_t n = 0; n < kTasksAtOnce && told_ < to_tell_.size(); ++n) {
    const KernelTask& task = to_tell_[told_];
    wire::Process message;
    message.exec.record.kind = WEIR_REC_EXEC;
    message.exec.record.size = sizeof(weir_exec);
    message.exec.record.boot_ns = boot_now_ns();
    message.exec.record.tree = task.value.tree;
    message.exec.record.person = task.value.person;
    message.exec.record.pid = task.pid;
    message.exec.start_ns = task.value.start_ns;
    message.exec.uid = task.value.uid;
    char link[32];
    *fmt::format_to_n(link, sizeof link - 1, "/proc/{}/exe", task.pid).out = '\0';
    (void)!::readlink(link, message.exec.program, sizeof message.exec.program - 1);
    if (!tell(message)) return;  // its queue is full: later
    ++told_;
  }
}

void Guard::tell_losses() {
  std::array<std::uint64_t, WEIR_COUNTERS> counted = kernel_.counters();
  for (weir_counter which : kLosses) {
    if (counted[which] <= lost_told_[which]) continue;
    wire::Lost message;
    message.counter = which;
    message.lost = counted[which] - lost_told_[which];
    if (tell(message)) lost_told_[which] = counted[which];
  }
}

void Guard::watch_interfaces() {
  const FlatHeader& header = *policy_.flat.header;
  interfaces_ = std::make_unique<Interfaces>(
      std::span<const FlatInterface>(header.interface, header.interfaces));
}

// A device comes and goes at any time: at each word of the kernel, and once a second.
void Guard::lay_floor() {
  if (!has_floor_) return;
  Result<void> laid = kernel_.set_floor(devices_to_the_world(floor_names_));
  const std::string problem = laid ? "" : laid.error().sentence;
  if (!problem.empty() && problem != floor_problem_)
    fmt::print(stderr, "weir-guard: what no socket sends leaves uncounted: {}\n", problem);
  if (std::exchange(floor_problem_, problem) != problem) tell_floor();
}

void Guard::tell_interfaces() {
  interfaces_->look();
  lay_floor();
  interfaces_->tell_changed([this](const FlatInterface& name, std::uint32_t index) {
    wire::Interface message;
    message.index = index;
    message.name = name;
    return tell(message);
  });
}

void Guard::release(const std::string& pin_dir) {
  if (!pin_dir.empty())
    if (auto released = KernelPart::release(pin_dir); !released)
      fmt::print(stderr, "weir-guard: {}\n", released.error().sentence);
}

}  // namespace weir
