// What every run of `weir exec` has: see exec_run.h.
#include "agent/run/exec_run.h"
#include "platform/linux/boot_clock.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <map>

namespace weir {
namespace {

constexpr std::uint32_t kRow = 0;  // the one limit of this run
constexpr int kPollMs = 1000;      // nothing due: a look at the rings once a second
constexpr std::uint64_t kDrainNs =
    10'000'000'000;  // for what the kernel still sends after the exit
constexpr int kStepMs = 5;

weir_account account_of(const Run& run) {
  weir_account_key key{};
  key.limit = kRow;
  key.per = WEIR_PER_TREE;
  key.who = run.tree;
  return run.kernel.account(key).value_or(weir_account{});
}

}  // namespace

Result<Run> Run::make(KernelPart kernel) {
  Result<int> ring_map = kernel.events_fd();
  if (!ring_map) return tl::unexpected(ring_map.error());
  Fd ring_fd(*ring_map);
  Result<EventRing> ring = EventRing::open(ring_fd.get());
  if (!ring) return tl::unexpected(ring.error());
  return Run{.kernel = std::move(kernel), .ring_fd = std::move(ring_fd), .ring = std::move(*ring)};
}

Result<KernelPart> load_bound(const std::string& cgroup) {
  KernelOptions wanted;
  wanted.cgroup = cgroup;
  wanted.scope = KernelScope::known_trees;
  wanted.scan = false;
  wanted.bind_sockets = false;
  return KernelPart::load(wanted);
}

Result<void> set_bound(KernelPart& kernel, std::uint64_t limit, std::int64_t window_ns) {
  weir_limit row = limit_row(limit, window_ns, WEIR_PER_TREE, WEIR_LIMIT_FIXED);
  if (auto set = kernel.set_limits({&row, 1}); !set) return set;
  weir_state state{};  // no first flight: nothing waits for a verdict, no refusal is taken back
  state.unclassified = 1u << kRow;
  state.acknowledgements = 1u << kRow;  // "at most BYTES left" has no exception
  return kernel.set_state(state);
}

void take_told(Run& run) {
  std::uint64_t now = boot_now_ns();
  run.kernel.poll_told([&](const weir_refused& refused) {
    if (refused.account.limit == kRow && refused.account.who == run.tree)
      run.due->refused(refused, now);
  });
  while (auto socket = run.due->take_due(now))
    (void)destroy_socket(socket->tuple, socket->record.cookie);  // gone already: as well
}

void take_events(Run& run) {
  run.ring.read([&](Bytes record) {
    weir_record head;
    if (record.size() < sizeof head) return;
    std::memcpy(&head, record.data(), sizeof head);
    if (head.tree != run.tree) return;
    run.places.record(record);
    if (run.names) run.names->record(record);
  });
}

int wait_ms(const Run& run) {
  std::optional<std::uint64_t> due = run.due->next_due_ns();
  if (!due) return kPollMs;
  std::uint64_t now = boot_now_ns();
  return *due <= now
             ? 0
             : static_cast<int>(std::min<std::uint64_t>((*due - now) / 1'000'000 + 1, kPollMs));
}

std::vector<std::uint32_t> members(const Run& run) {
  std::vector<std::uint32_t> pids;
  Result<std::vector<KernelTask>> tasks = run.kernel.tasks();
  if (!tasks) return pids;
  for (const KernelTask& task : *tasks)
    if (task.value.tree == run.tree) pids.push_back(task.pid);
  return pids;
}

// The kernel goes on sending what the command had written before it ended. It is given time, within
// the limit; what is left then is thrown away, because nothing bounds it after us. The ring loses
// records of a command that opens thousands of connections; the kernel's own list has them all.
void drain(Run& run) {
  struct stat cgroup {};
  bool listed = run.cgroup && ::stat(run.cgroup->path().c_str(), &cgroup) == 0;
  for (std::uint64_t until = boot_now_ns() + kDrainNs; boot_now_ns() < until;) {
    take_told(run);
    take_events(run);
    bool unsent = listed       ? unsent_of_cgroup(cgroup.st_ino) > 0
                  : run.cgroup ? run.places.any_open()
                               : run.kernel.unsent().value_or(0) > 0;
    if (!unsent || account_of(run).refused > 0) break;
    ::usleep(kStepMs * 1000);
  }
  for (const weir_usage& open : run.places.open_sockets())
    (void)destroy_socket(open.tuple, open.record.cookie);
  if (listed) (void)destroy_sockets_of_cgroup(cgroup.st_ino);
  if (!run.cgroup) (void)run.kernel.destroy_sockets();
  ::usleep(kStepMs * 1000);
  take_told(run);
  take_events(run);
}

std::uint64_t records_lost(const Run& run) {
  return run.kernel.counters()[WEIR_COUNT_RING_LOST] + run.places.sockets_dropped();
}

ExecSummary summarize(Run& run, std::uint64_t limit, std::int64_t window_ns, int status) {
  ExecSummary summary;
  weir_account account = account_of(run);
  summary.limit = limit;
  summary.window_ns = window_ns;
  summary.bytes_out = account.charged;
  summary.bytes_refused = account.refused;
  summary.stopped = account.refused > 0;
  summary.places = run.places.summed(summary.places_dropped);
  std::map<Endpoint, std::string> names;
  if (run.names) names = run.names->finish();
  for (ExecPlace& place : summary.places) {
    summary.bytes_in += place.bytes_in;
    if (auto known = names.find(place.endpoint); known != names.end()) place.name = known->second;
  }
  summary.exit_status = status;
  if (run.policy) summary.reports = run.policy->finish();
  for (const ExecReport& report : summary.reports) summary.stopped |= report.stopped;
  if (summary.stopped && account.refused == 0) run.notes.push_back({"refused_is_counted", {}});
  std::uint64_t lost = records_lost(run);
  if (lost > 0) run.notes.push_back({"records_lost", {fmt::format("{}", lost)}});
  run.notes.push_back({"resolver_outside", {}});
  summary.notes = std::move(run.notes);
  return summary;
}

}  // namespace weir
