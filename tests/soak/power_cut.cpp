// Runs inside a machine whose power is cut: weir_power_cut FOLDER [--no-sync]
// Says what an earlier run left in FOLDER, then writes alerts until the end, into a desk's spool
// and a collector's store by turns. Each line is one fact, of `spool` and of `store`:
//   found N          alerts 1 … N are there, each once, as they were written
//   wrong SENTENCE   they are not
//   acknowledged N   up to here a host, or a desk's engine, was told that it is safe
// --no-sync is the control: what is to reach the disk is left to the kernel's leisure.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <future>
#include <stdexcept>
#include <string>
#include <string_view>

#include "agent/spool/spool.h"
#include "collector/store/day_file.h"
#include "collector/store/record_store.h"
#include "collector/store/sqlite.h"
#include "tests/collector/store/stored_records.h"

namespace {
bool syncs = true;
}

// The program's own come before the C library's, for SQLite too.
extern "C" int fsync(int fd) {
  return syncs ? static_cast<int>(::syscall(SYS_fsync, fd)) : 0;
}
extern "C" int fdatasync(int fd) {
  return syncs ? static_cast<int>(::syscall(SYS_fdatasync, fd)) : 0;
}

namespace weir {
namespace {

constexpr std::int64_t kDay = 20'000;  // since 1970; all alerts are of one
constexpr LaneKey kLane{1, StoreLane::alert};
constexpr std::size_t kBatch = 7;

void tell(std::string_view of, std::string_view fact) {
  fmt::print("{} {}\n", of, fact);
  std::fflush(stdout);
}

std::string alert(std::uint64_t number) {
  return fmt::format("alert {}:{:x>{}}", number, "", number % 500);
}

template <typename Opened>
Opened must(Result<Opened> result) {
  if (!result) throw std::runtime_error(result.error().sentence);
  return std::move(*result);
}

class DeskSpool {
 public:
  explicit DeskSpool(int folder) : writer_(must(SpoolWriter::open(folder, {}, 1))) {
    SpoolReader reader = must(SpoolReader::open(folder));
    std::uint64_t found = 0;
    for (;;) {
      SpoolPiece piece = must(reader.read(SpoolLane::alert, found, 1000, 1 << 20));
      if (piece.lost) throw std::runtime_error(fmt::format("{} … are lost", piece.lost->first));
      if (piece.records.empty()) break;
      for (const SpoolRecord& record : piece.records)
        if (record.sequence != ++found ||
            text_of({record.bytes.data(), record.bytes.size()}) != alert(found))
          throw std::runtime_error(fmt::format("{} is not what was written", found));
    }
    tell("spool", fmt::format("found {}", found));
  }
  void write() {
    for (std::size_t n = 0; n < kBatch; ++n)
      writer_.append(SpoolLane::alert, bytes_of(alert(writer_.last()[0].sequence + 1)));
    if (Result<void> kept = writer_.commit(SpoolLane::alert); !kept)
      throw std::runtime_error(kept.error().sentence);
    tell("spool", fmt::format("acknowledged {}", writer_.committed()[0].sequence));
  }

 private:
  SpoolWriter writer_;
};

class CollectorStore {
 public:
  explicit CollectorStore(const std::string& folder) : fleet_(must(FleetStore::open(folder))) {
    check(folder);
    records_ = must(RecordStore::open(
        *fleet_, {.folder = folder,
                  .wall_ns = [] { return kDay * kDayNs; },
                  .say = [](const std::string& sentence) { tell("store", "wrong " + sentence); }}));
    for (const Appended& at : records_->positions(kLane.host)) stored_ = at.sequence;
    if (stored_ != found_)
      throw std::runtime_error(fmt::format("the watermark says {} of {}", stored_, found_));
    tell("store", fmt::format("found {}", found_));
  }
  void write() {
    Append append{.key = kLane, .epoch = 1, .first_sequence = stored_ + 1};
    for (std::size_t n = 1; n <= kBatch; ++n)
      append.records.push_back({.ciphertext = alert(stored_ + n)});
    std::promise<Appended> promise;
    append.done = [&](const Appended& appended) { promise.set_value(appended); };
    if (!records_->append(append)) throw std::runtime_error("the store takes nothing");
    stored_ = promise.get_future().get().sequence;
    tell("store", fmt::format("acknowledged {}", stored_));
  }

 private:
  void check(const std::string& folder) {
    for (std::int64_t day : fleet_->days()) {
      auto file = Database::open(day_path(folder, day), Database::Mode::write);
      bool whole = each_stored_record(*file, [&](const StoredRecord& at) {
        if (at.sequence != ++found_ || text_of(at.record.ciphertext) != alert(found_))
          throw std::runtime_error(fmt::format("{} is not what was written", found_));
      });
      if (!whole) throw std::runtime_error(fmt::format("what comes after {} is damaged", found_));
    }
  }
  std::unique_ptr<FleetStore> fleet_;
  std::unique_ptr<RecordStore> records_;
  std::uint64_t found_ = 0, stored_ = 0;
};

int run(const std::filesystem::path& folder) {
  const char* of = "spool";
  try {
    std::filesystem::create_directories(folder / "spool");
    std::filesystem::create_directories(folder / "store");
    int spool_folder = ::open((folder / "spool").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DeskSpool spool(spool_folder);
    of = "store";
    CollectorStore store(folder / "store");
    for (;;) {
      of = "spool";
      spool.write();
      of = "store";
      store.write();
    }
  } catch (const std::exception& wrong) {
    tell(of, fmt::format("wrong {}", wrong.what()));
    return 1;
  }
}

}  // namespace
}  // namespace weir

int main(int argc, char** argv) {
  if (argc < 2 || argc > 3) return 2;
  syncs = argc == 2;
  return weir::run(argv[1]);
}
