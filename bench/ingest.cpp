// Committed records a second of 100 hosts through the collector's store, beside bare SQLite, set as
// the store sets it, that inserts the same rows in transactions of the same size. Prints one line a
// kind:
// KIND hosts RECORDS store RECORDS/s CPU-US-EACH bare RECORDS/s CPU-US-EACH ratio R group N
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "bench/records.h"
#include "collector/fleet/batch_reader.h"
#include "collector/store/record_store.h"
#include "collector/store/schema.h"
#include "weir/v1/agent.pb.h"

namespace weir {
namespace {

constexpr std::uint32_t kHosts = 100;
constexpr int kThreads = 2;

struct Taken {
  double seconds = 0, cpu_us = 0;
};

double cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  auto of = [](const timeval& t) { return static_cast<double>(t.tv_sec) + t.tv_usec * 1e-6; };
  return of(usage.ru_utime) + of(usage.ru_stime);
}

template <class Work>
Taken timed(std::uint64_t records, Work work) {
  double cpu = cpu_seconds();
  auto start = std::chrono::steady_clock::now();
  work();
  double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return {seconds, (cpu_seconds() - cpu) * 1e6 / static_cast<double>(records)};
}

[[noreturn]] void give_up(const std::string& sentence) {
  fmt::print(stderr, "bench_ingest: {}\n", sentence);
  std::exit(1);
}

struct Waits {  // how many batches a host has under way
  std::mutex mutex;
  std::condition_variable changed;
  int under_way = 0;
};

// `batches`: of each host, used up.
void send_all(RecordStore& store, std::vector<std::vector<v1::Batch>>& batches) {
  std::vector<Waits> hosts(kHosts + 1);
  auto send = [&](std::uint32_t from) {
    for (std::size_t n = 0; n < batches[0].size(); ++n)
      for (std::uint32_t host = from; host <= kHosts; host += kThreads) {
        Waits& waits = hosts[host];
        {
          std::unique_lock lock(waits.mutex);
          waits.changed.wait(lock, [&] { return waits.under_way < kInFlight; });
          ++waits.under_way;
        }
        Result<Append> append = read_batch(batches[host - 1][n], host, "host");
        if (!append) give_up(append.error().sentence);
        append->done = [&waits](const Appended&) {
          std::lock_guard lock(waits.mutex);
          --waits.under_way;
          waits.changed.notify_one();
        };
        while (!store.append(*append)) std::this_thread::yield();
      }
  };
  std::vector<std::thread> threads;
  for (std::uint32_t t = 1; t <= kThreads; ++t) threads.emplace_back(send, t);
  for (std::thread& thread : threads) thread.join();
  for (Waits& waits : hosts) {
    std::unique_lock lock(waits.mutex);
    waits.changed.wait(lock, [&] { return waits.under_way == 0; });
  }
}

std::int64_t wall_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

Taken through_store(const std::string& folder, const std::vector<v1::Batch>& batches,
                    std::uint64_t records, std::uint64_t& group) {
  auto fleet = FleetStore::open(folder);
  if (!fleet) give_up(fleet.error().sentence);
  auto store = RecordStore::open(
      **fleet,
      {.folder = folder, .wall_ns = wall_ns, .say = [](const std::string& s) { give_up(s); }});
  if (!store) give_up(store.error().sentence);
  // As they come from the wire's reader; the peer has its rows too.
  std::vector<std::vector<v1::Batch>> of_hosts(kHosts, batches);
  Taken taken = timed(records, [&] { send_all(**store, of_hosts); });
  StoreCounters counters = (*store)->counters();
  if (counters.records != records)
    give_up(fmt::format("{} of {} records stored", counters.records, records));
  group = records / std::max<std::uint64_t>(counters.commits, 1);
  return taken;
}

Taken bare(const std::string& folder, const std::vector<v1::Batch>& batches, std::uint64_t records,
           std::uint64_t group) {
  auto db = Database::open(folder + "/bare.db", Database::Mode::create);
  if (!db) give_up(db.error().sentence);
  if (!db->run(kDayPages) || !db->run(kStoreSettings) ||
      !db->run("CREATE TABLE records (record INTEGER PRIMARY KEY, received_ms INTEGER, host "
               "INTEGER, lane INTEGER, epoch INTEGER, sequence INTEGER, flags INTEGER, "
               "previous_hash BLOB, ciphertext BLOB, key_id BLOB, nonce BLOB)"))
    give_up(db->error());
  Statement insert(*db,
                   "INSERT INTO records (received_ms, host, lane, epoch, sequence, flags, "
                   "previous_hash, ciphertext, key_id, nonce) "
                   "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)");
  return timed(records, [&] {
    std::uint64_t in_group = 0;
    if (!db->run("BEGIN")) give_up(db->error());
    for (const v1::Batch& batch : batches)
      for (std::uint32_t host = 1; host <= kHosts; ++host)
        for (int n = 0; n < batch.records_size(); ++n) {
          const v1::SealedRecord& r = batch.records(n);
          if (!insert
                   .bind(std::int64_t{1}, host, 1, std::uint64_t{1},
                         batch.first_sequence() + static_cast<std::uint64_t>(n), 0,
                         bytes_of(r.previous_hash()), bytes_of(r.ciphertext()), Bytes(), Bytes())
                   .run())
            give_up(db->error());
          if (++in_group < group) continue;
          in_group = 0;
          if (!db->run("COMMIT") || !db->run("BEGIN")) give_up(db->error());
        }
    if (!db->run("COMMIT")) give_up(db->error());
  });
}

void measure(const char* kind, bool report, std::uint64_t records, const std::string& folder) {
  std::filesystem::create_directories(folder);
  std::vector<v1::Batch> batches = batches_of(report, records / kHosts);
  records = batches.size() * kBatch * kHosts;
  std::uint64_t group = 0;
  Taken ours = through_store(folder, batches, records, group);
  Taken peer = bare(folder, batches, records, group);
  std::filesystem::remove_all(folder);
  auto rate = [&](const Taken& taken) { return static_cast<double>(records) / taken.seconds; };
  fmt::print("{} {} {} store {:.0f} {:.2f} bare {:.0f} {:.2f} ratio {:.2f} group {}\n", kind,
             kHosts, records, rate(ours), ours.cpu_us, rate(peer), peer.cpu_us,
             rate(ours) / rate(peer), group);
}

}  // namespace
}  // namespace weir

int main(int argc, char** argv) {
  if (argc < 2 || argc > 3) {
    fmt::print(stderr, "usage: bench_ingest FOLDER [RECORDS]\n");
    return 2;
  }
  const std::string folder = argv[1];
  const std::uint64_t records = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 400'000;
  weir::measure("reports", true, records, folder + "/ingest-reports");
  weir::measure("telemetry", false, records, folder + "/ingest-telemetry");
  return 0;
}
