// What hosts have told, a file a day (DIR/days/2026-11-22.db). One thread writes: it takes all that
// waits, of all hosts, into one transaction with the watermarks, so that a disk's one sync serves
// many. Nothing is acknowledged before it is on disk; what was stored already is cut off by the
// watermark. When the disk refuses, nothing is lost: the batches wait and are tried again.
// Thread: any, unless it says otherwise.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "collector/store/fleet_store.h"
#include "collector/store/watermarks.h"

namespace weir {

// Bits of a stored record: what was noticed when it came.
inline constexpr std::uint8_t kChainBroken = 1;  // previous_hash is not that of the record before
inline constexpr std::uint8_t kOtherHost = 2;    // it named another host than its certificate
inline constexpr std::uint8_t kUnreadable = 4;   // no weir.v1.Record
inline constexpr std::uint8_t kEncrypted = 8;    // not looked into

// What reports are searched by.
struct ReportColumns {
  std::string id;
  std::uint32_t revision = 0;
  std::int64_t time_ns = 0;
  int severity = 0;
  std::string detector, rule, service, person;
  std::int64_t uid = -1;  // -1: none
};

struct NewRecord {
  Digest previous_hash{}, hash{};  // hash: of this one, which the next names as previous
  std::string ciphertext{}, key_id{}, nonce{};  // the last two: at most 64 KiB
  std::uint8_t flags = 0;
  std::optional<ReportColumns> report{};
};

enum class AppendOutcome : std::uint8_t {
  stored,
  hole,       // first_sequence is not the next one: nothing of it was taken
  old_epoch,  // older than all that are kept
};

struct Appended {
  AppendOutcome outcome = AppendOutcome::stored;
  StoreLane lane = StoreLane::alert;
  std::uint64_t epoch = 0, sequence = 0;  // stored up to here
};

// A batch's records as their row holds them, and of each where it starts: made by the thread that
// hands a batch in, so that the writer has little left to do a record.
struct PackedBatch {
  struct Report {
    std::uint32_t index = 0, at = 0, size = 0;  // of the record; of its ciphertext in `bytes`
    std::int64_t key = 0;                       // report_key()
    ReportColumns columns;
  };
  std::string bytes{};
  std::vector<std::uint32_t> starts{};
  std::vector<Report> reports{};
  Digest last_hash{};
  bool broken = false;  // a record does not follow the one before it in the batch
};

// A person asks for an exception: goes into store.db before its record is committed.
struct NewRequest {
  std::uint32_t index = 0;  // of its record in the batch
  std::string id, person;   // as RequestRow has them
  std::string request;
};

struct Append {
  LaneKey key;
  std::uint64_t epoch = 0, first_sequence = 0;
  std::vector<NewRecord> records{};
  std::vector<NewRequest> requests{};
  std::uint64_t lost_until = 0;  // with no records: first_sequence … lost_until are gone; 0: none
  int lost_why = 0;              // LostRange.Why
  std::uint64_t forgotten_until = 0;            // of the lost: up to here this store had them once
  std::function<void(const Appended&)> done{};  // on the writer's thread, after the commit
  PackedBatch packed{};                         // what pack() made of `records`
};

// Empties `append.records` into its row. append() does it where the caller has not: a caller who
// holds a lock then does it before.
void pack(Append& append);

inline constexpr int kWhyRestored = 4;  // LostRange.collector_restored

struct StoreCounters {
  std::uint64_t records = 0, duplicates = 0, gaps = 0, lost = 0, holes = 0, chain_breaks = 0;
  RequestsAdded requests;
  std::uint64_t commits = 0, failed_commits = 0, refused_full = 0;
};

// What of records waits for the disk: some seconds of a busy fleet; beyond, hosts are told to wait.
inline constexpr std::size_t kMaxWaitingBytes = 32u << 20;
inline constexpr std::size_t kMaxGroupRecords = 8'192;  // in one transaction: some 20 ms of inserts

struct RecordStoreOptions {
  std::string folder;                           // DIR
  std::function<std::int64_t()> wall_ns;        // the day that a record is filed under
  std::function<void(const std::string&)> say;  // a sentence for the log; on the writer's thread
  std::function<void()> reports_came = [] {};   // after a commit that holds reports; likewise
  // Days of records are removed whole when they are so many days old; 0: never.
  std::int64_t keep_days = 0;
  std::function<void(std::int64_t)> forgot = [](std::int64_t) {
  };  // before their files go; likewise
};

class RecordStore {
 public:
  // `fleet` outlives it.
  static Result<std::unique_ptr<RecordStore>> open(FleetStore& fleet, RecordStoreOptions options);
  ~RecordStore();  // what waits is written first, unless the disk refuses it

  // False: too much waits already; `append` is untouched, to be handed in again later.
  bool append(Append& append);
  std::vector<Appended> positions(std::uint32_t host) const;  // all lanes and epochs, on disk
  StoreCounters counters() const;

 private:
  class Writer;
  explicit RecordStore(std::unique_ptr<Writer> writer);
  std::unique_ptr<Writer> writer_;
};

}  // namespace weir
