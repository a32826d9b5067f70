// The engine's way to the spool: see spooler.h.
#include "agent/engine/spooler.h"

#include <fmt/format.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>

namespace weir {
namespace {

constexpr std::int64_t kMsNs = 1'000'000, kSecondNs = 1'000'000'000;
constexpr std::int64_t kNever = INT64_MAX;
// A sync takes 4–8 ms on a desk's disk: alerts that come meanwhile share the next one.
constexpr std::int64_t kGatherNs = 3 * kMsNs;
constexpr std::int64_t kOthersNs = 700 * kMsNs;  // with the sync, within a second
constexpr std::int64_t kForgetNs = kSecondNs;
constexpr std::int64_t kRetryNs = kSecondNs;  // after a failure, for every lane

// 4 MiB is a second of 50 reports of 80 KiB. Telemetry may fill half of it and audit three
// quarters, so that an alert finds room when they come in heaps.
constexpr std::size_t kMaxQueued = 4u << 20;
constexpr std::array<std::size_t, kSpoolLanes> kMayFill{kMaxQueued, kMaxQueued / 4 * 3,
                                                        kMaxQueued / 2};
constexpr std::size_t kOverhead = 64;  // bytes that an offered record costs beside its own

std::int64_t now_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * kSecondNs + now.tv_nsec;
}

class Locked {
 public:
  explicit Locked(pthread_mutex_t& mutex) : mutex_(mutex) { ::pthread_mutex_lock(&mutex_); }
  ~Locked() { ::pthread_mutex_unlock(&mutex_); }
  Locked(const Locked&) = delete;
  Locked& operator=(const Locked&) = delete;

 private:
  pthread_mutex_t& mutex_;
};

}  // namespace

// When something has to happen, in CLOCK_MONOTONIC.
struct Spooler::Due {
  std::int64_t alerts = kNever, others = kNever, forget = 0, open = 0;
  bool failing = false;
  std::uint64_t alerts_lost = 0;  // that a sentence was said of
  std::int64_t next() const { return std::min({alerts, others, forget, open}); }
};

Spooler::Spooler(const Ends& ends, const SpoolLimits& limits, std::int64_t wall_ns)
    : ends_(ends), limits_(limits), wall_ns_(wall_ns) {
  pthread_condattr_t monotonic;
  ::pthread_condattr_init(&monotonic);
  ::pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
  ::pthread_cond_init(&offered_, &monotonic);
  ::pthread_condattr_destroy(&monotonic);
  thread_ = std::thread([this] { run(); });
}

Spooler::~Spooler() {
  {
    Locked lock(mutex_);
    stop_ = true;
    ::pthread_cond_signal(&offered_);
  }
  thread_.join();
  ::pthread_cond_destroy(&offered_);
}

void Spooler::offer(SpoolLane lane, std::string record) {
  auto n = static_cast<std::size_t>(lane);
  std::size_t cost = record.size() + kOverhead;
  if (record.size() > kMaxSpoolRecord) {
    ++lost_[n];
    return;
  }
  Locked lock(mutex_);
  if (queued_ + cost > kMayFill[n]) {
    ++lost_[n];
    return;
  }
  queued_ += cost;
  // The thread is woken for the first record and for the first alert; the rest it finds.
  bool wake = queue_.empty() || (lane == SpoolLane::alert && !urgent_);
  urgent_ |= lane == SpoolLane::alert;
  queue_.push_back({lane, std::move(record)});
  if (wake) ::pthread_cond_signal(&offered_);
}

std::array<std::uint64_t, kSpoolLanes> Spooler::lost() const {
  return {lost_[0].load(), lost_[1].load(), lost_[2].load()};
}

SpoolCounters Spooler::counters() const {
  Locked lock(mutex_);
  return counters_;
}

// Until something was offered or it is time; false: nothing more will be offered.
bool Spooler::wait(std::int64_t until_ns, std::vector<Offered>& taken) {
  timespec until{static_cast<time_t>(until_ns / kSecondNs), until_ns % kSecondNs};
  Locked lock(mutex_);
  while (queue_.empty() && !stop_ && now_ns() < until_ns)
    if (::pthread_cond_timedwait(&offered_, &mutex_, &until) == ETIMEDOUT) break;
  taken.swap(queue_);
  queued_ = 0;
  urgent_ = false;
  return !stop_ || !taken.empty();
}

void Spooler::open() {
  // Above what the uplink knows of an earlier spool, whatever the clock says by now.
  std::uint64_t known = 0;
  if (ends_.acknowledged >= 0)
    if (auto acknowledged = read_acknowledged(ends_.acknowledged))
      for (const SpoolPosition& position : *acknowledged) known = std::max(known, position.epoch);
  auto epoch = std::max(wall_ns_, static_cast<std::int64_t>(known + 1));
  Result<SpoolWriter> opened = SpoolWriter::open(ends_.folder, limits_, epoch);
  if (opened)
    writer_ = std::make_unique<SpoolWriter>(std::move(*opened));
  else
    fmt::print(stderr, "weir-engine: {}\n", opened.error().sentence);
}

void Spooler::put(std::vector<Offered>& taken, Due& due) {
  std::int64_t now = now_ns();
  for (const Offered& record : taken) {
    if (!writer_) {
      ++lost_[static_cast<std::size_t>(record.lane)];
      continue;
    }
    writer_->append(record.lane, bytes_of(record.bytes));
    if (record.lane == SpoolLane::alert && !due.failing)
      due.alerts = std::min(due.alerts, now + kGatherNs);
    due.others = std::min(due.others, now + kOthersNs);
  }
  taken.clear();
}

void Spooler::commit(SpoolLane until, Due& due) {
  Result<void> done = writer_->commit(until);
  due.alerts = kNever;
  if (until != SpoolLane::alert) due.others = kNever;
  if (!done) due.others = now_ns() + kRetryNs;
  if (!done != due.failing)
    fmt::print(stderr, "weir-engine: {}\n",
               done ? "the spool is written again" : done.error().sentence);
  due.failing = !done;
  std::uint64_t alerts = writer_->counters().lost[0];
  if (alerts > due.alerts_lost)
    fmt::print(stderr,
               "weir-engine: {} alerts are lost: the spool has no room and no memory left\n",
               alerts - due.alerts_lost);
  due.alerts_lost = alerts;
  {
    Locked lock(mutex_);
    counters_ = writer_->counters();
  }
  std::uint64_t one = 1;
  if (ends_.news >= 0) (void)!::write(ends_.news, &one, sizeof one);
}

void Spooler::forget() {
  if (ends_.acknowledged < 0) return;
  if (auto acknowledged = read_acknowledged(ends_.acknowledged)) writer_->forget(*acknowledged);
}

void Spooler::run() {
  Due due;
  std::vector<Offered> taken;
  for (bool more = true; more;) {
    std::int64_t now = now_ns();
    if (!writer_ && now >= due.open) {
      open();
      due.open = writer_ ? kNever : now + kRetryNs;
      due.forget = writer_ ? now : kNever;
      if (writer_) due.others = now;  // what the repair found is told at once
    }
    more = wait(due.next(), taken);
    put(taken, due);
    if (!writer_) continue;
    now = now_ns();
    if (now >= due.forget) {
      forget();
      due.forget = now + kForgetNs;
    }
    if (now >= due.others || !more)
      commit(SpoolLane::telemetry, due);
    else if (now >= due.alerts)
      commit(SpoolLane::alert, due);
  }
}

}  // namespace weir
