// A store in a folder of its own, and records to put into it.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <atomic>
#include <filesystem>
#include <future>
#include <string>

#include "collector/store/day_file.h"
#include "collector/store/record_store.h"
#include "collector/store/report_reader.h"
#include "tests/collector/store/stored_records.h"

namespace weir {

class Folder {
 public:
  Folder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "weir-store-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Its hash stands for that of its content: the store compares, it does not compute.
inline Digest digest_of(std::uint64_t number) {
  Digest digest{};
  for (int n = 0; n < 8; ++n) digest[n] = static_cast<std::uint8_t>(number >> (8 * n));
  return digest;
}

inline Append batch_of(LaneKey key, std::uint64_t epoch, std::uint64_t first, std::size_t count) {
  Append append{.key = key, .epoch = epoch, .first_sequence = first};
  for (std::size_t n = 0; n < count; ++n) {
    std::uint64_t sequence = first + n;
    append.records.push_back({.previous_hash = digest_of(sequence - 1),
                              .hash = digest_of(sequence),
                              .ciphertext = fmt::format("{}/{}/{}", key.host, epoch, sequence)});
  }
  return append;
}

// The writer stands in the callback of a batch of one record until let_go(), so that everything
// that is offered after the constructor piles up. (Before it stands there, it would take some of it
// into its first round, and that does not count as waiting.)
class StandingWriter {
 public:
  StandingWriter(RecordStore& records, LaneKey key) {
    Append first = batch_of(key, 1, 1, 1);
    first.done = [this](const Appended&) {
      stands_.set_value();
      gone_.get_future().wait();
    };
    EXPECT_TRUE(records.append(first));
    stands_.get_future().wait();
  }
  void let_go() { gone_.set_value(); }

 private:
  std::promise<void> stands_, gone_;
};

class StoreTest : public ::testing::Test {
 protected:
  void open() {
    records.reset();
    reader.reset();
    fleet.reset();
    auto opened = FleetStore::open(folder.path());
    ASSERT_TRUE(opened) << opened.error().sentence;
    fleet = std::move(*opened);
    reader = std::make_unique<ReportReader>(*fleet, folder.path());
    auto store =
        RecordStore::open(*fleet, {.folder = folder.path(),
                                   .wall_ns = [this] { return now_ns.load(); },
                                   .say = [this](const std::string& s) { said(s); },
                                   .keep_days = keep_days,
                                   .forgot = [this](std::int64_t day) { reader->forget(day); }});
    ASSERT_TRUE(store) << store.error().sentence;
    records = std::move(*store);
  }

  void said(const std::string& sentence) {
    std::lock_guard lock(mutex);
    sentences.push_back(sentence);
  }

  Appended put(Append append) {
    std::promise<Appended> promise;
    append.done = [&](const Appended& appended) { promise.set_value(appended); };
    EXPECT_TRUE(records->append(append));
    return promise.get_future().get();
  }

  // Rows of one lane and epoch, over all days, in order: "sequence:flags …".
  std::string rows(LaneKey key, std::uint64_t epoch) {
    std::string text;
    for (std::int64_t day : fleet->days()) {
      auto db = Database::open(day_path(folder.path(), day), Database::Mode::write);
      EXPECT_TRUE(each_stored_record(*db, [&](const StoredRecord& at) {
        if (at.key == key && at.epoch == epoch)
          text += fmt::format("{}{}:{}", text.empty() ? "" : " ", at.sequence, at.record.flags);
      }));
    }
    return text;
  }

  Folder folder;
  std::atomic<std::int64_t> now_ns = 20'000 * kDayNs + 1;
  std::int64_t keep_days = 0;
  std::mutex mutex;
  std::vector<std::string> sentences;
  std::unique_ptr<FleetStore> fleet;
  std::unique_ptr<ReportReader> reader;
  std::unique_ptr<RecordStore> records;
};

}  // namespace weir
