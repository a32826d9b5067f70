// A reader beside a writer that appends, evicts and forgets: it is told everything once, and takes
// nothing that is only being moved for damage.
#include <atomic>
#include <random>
#include <thread>

#include "tests/agent/spool/folder_fixture.h"

namespace weir {
namespace {

using namespace spool_test;

struct Shared {
  std::atomic<bool> done = false;
  std::array<std::atomic<std::uint64_t>, kSpoolLanes> read{};
  std::array<std::uint64_t, kSpoolLanes> end{}, evicted{};  // once done
};

void write_beside(int folder, Shared& shared) {
  auto& [done, read, end, evicted] = shared;
  std::mt19937 random(3);
  SpoolWriter writer = open_writer(folder, small_limits(1024, 3));
  for (int round = 0; round < 3000; ++round) {
    // Alerts in heaps: they take the other lanes' room, down to the newest segment.
    SpoolLane lane = kLanes[round / 20 % 5 == 0 ? 0 : 1 + random() % 2];
    for (unsigned n = random() % 6; n > 0; --n) {
      std::uint64_t next = writer.last()[at(lane)].sequence + 1;
      writer.append(lane, bytes_of(body(lane, next, 20 + next * 7 % 300)));
    }
    (void)writer.commit(random() % 2 == 0 ? SpoolLane::alert : SpoolLane::telemetry);
    ::usleep(random() % 200);
    if (random() % 16 != 0) continue;
    SpoolPositions positions = writer.committed();
    for (SpoolLane one : kLanes) positions[at(one)].sequence = read[at(one)].load();
    writer.forget(positions);
  }
  for (int n = 0; n < 2000; ++n) {  // alerts that found no room wait for the reader
    SpoolPositions positions = writer.committed();
    for (SpoolLane one : kLanes) positions[at(one)].sequence = read[at(one)].load();
    writer.forget(positions);
    if (writer.commit() && writer.committed() == writer.last()) break;
    ::usleep(5000);
  }
  for (SpoolLane lane : kLanes) {
    end[at(lane)] = writer.committed()[at(lane)].sequence;
    evicted[at(lane)] = writer.counters().lost[at(lane)];
  }
  done = true;
}

TEST(SpoolBeside, a_reader_is_told_each_record_or_its_loss_while_the_writer_evicts) {
  Folder folder;
  Shared shared;
  auto& [done, read, end, evicted] = shared;
  std::thread writing([&] { write_beside(folder.fd(), shared); });
  Result<SpoolReader> reader = SpoolReader::open(folder.fd());
  ASSERT_TRUE(reader);
  std::array<std::uint64_t, kSpoolLanes> records{}, lost{};
  std::uint64_t wrong = 0, damaged = 0;
  for (bool last_round = false;;) {
    bool nothing = true;
    last_round = done;
    for (SpoolLane lane : kLanes) {
      std::uint64_t after = read[at(lane)];
      auto piece = reader->read(lane, after, 5, 4096);
      if (!piece) break;
      for (const SpoolRecord& record : piece->records) {
        ++after;
        std::string_view text = text_of(Bytes(record.bytes.data(), record.bytes.size()));
        wrong += record.sequence != after || text != body(lane, after, 20 + after * 7 % 300);
      }
      records[at(lane)] += piece->records.size();
      if (piece->lost) {
        wrong += piece->lost->first != after + 1 || piece->lost->last <= after;
        damaged += piece->lost->why == SpoolLoss::damaged;
        lost[at(lane)] += piece->lost->last - after;
        after = piece->lost->last;
      }
      nothing = nothing && after == read[at(lane)];
      read[at(lane)] = after;
    }
    if (nothing && last_round) break;
  }
  writing.join();
  EXPECT_EQ(wrong, 0u);
  EXPECT_EQ(damaged, 0u);
  EXPECT_EQ(lost[0], 0u);
  for (SpoolLane lane : kLanes) {
    EXPECT_EQ(read[at(lane)].load(), end[at(lane)]) << at(lane);
    EXPECT_EQ(records[at(lane)] + lost[at(lane)], end[at(lane)]) << at(lane);
    EXPECT_LE(lost[at(lane)], evicted[at(lane)]) << at(lane);  // some were read before they went
  }
  EXPECT_GT(records[0] + records[1] + records[2], 1000u);
  printf("read %llu records beside the writer, told of %llu lost\n",
         static_cast<unsigned long long>(records[0] + records[1] + records[2]),
         static_cast<unsigned long long>(lost[0] + lost[1] + lost[2]));
}

}  // namespace
}  // namespace weir
