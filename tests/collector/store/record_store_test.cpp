// Append and watermark: what is stored once stays, is stored once, and is known after any restart.
#include <sys/mount.h>
#include <unistd.h>

#include <fstream>

#include "tests/collector/store/store_fixture.h"

namespace weir {
namespace {

constexpr LaneKey kAlerts{7, StoreLane::alert}, kAudit{7, StoreLane::audit};

using RecordStoreTest = StoreTest;

TEST_F(RecordStoreTest, records_are_stored_in_order_and_acknowledged_up_to_the_last) {
  open();
  Appended answer = put(batch_of(kAlerts, 1, 1, 3));
  EXPECT_EQ(answer.outcome, AppendOutcome::stored);
  EXPECT_EQ(answer.sequence, 3u);
  EXPECT_EQ(rows(kAlerts, 1), "1:0 2:0 3:0");
}

TEST_F(RecordStoreTest, what_is_stored_already_is_acknowledged_and_not_stored_twice) {
  open();
  put(batch_of(kAlerts, 1, 1, 3));
  EXPECT_EQ(put(batch_of(kAlerts, 1, 1, 3)).sequence, 3u);
  EXPECT_EQ(put(batch_of(kAlerts, 1, 2, 4)).sequence, 5u);
  EXPECT_EQ(rows(kAlerts, 1), "1:0 2:0 3:0 4:0 5:0");
  EXPECT_EQ(records->counters().duplicates, 5u);
}

TEST_F(RecordStoreTest, a_request_is_taken_once_also_when_its_record_comes_again) {
  open();
  const RequestRow asked{
      .host = 7, .id = "r-1", .person = "uid 1", .request = "asked", .ends_s = INT64_MAX};
  // What a kill between the two commits leaves: the request, and no record.
  ASSERT_EQ(fleet->add_requests({&asked, 1}, 0)->taken, 1u);
  auto batch = [] {
    Append append = batch_of(kAudit, 1, 1, 3);
    append.requests = {{.index = 0, .id = "r-1", .person = "uid 1", .request = "asked"},
                       {.index = 2, .id = "r-2", .person = "uid 1", .request = "again"}};
    return append;
  };
  EXPECT_EQ(put(batch()).sequence, 3u);
  EXPECT_EQ(put(batch()).sequence, 3u) << "sent again";
  EXPECT_EQ(records->counters().requests.known, 1u);
  EXPECT_EQ(records->counters().requests.taken, 1u);
  const std::vector<RequestRow> all = fleet->requests(0, INT64_MAX, 10, 0);
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].id, "r-2");
  EXPECT_EQ(all[0].host, 7u);
  open();
  EXPECT_EQ(fleet->requests(0, INT64_MAX, 10, 0).size(), 2u);
}

TEST_F(RecordStoreTest, a_batch_after_a_hole_is_not_taken) {
  open();
  put(batch_of(kAlerts, 1, 1, 2));
  Appended answer = put(batch_of(kAlerts, 1, 4, 2));
  EXPECT_EQ(answer.outcome, AppendOutcome::hole);
  EXPECT_EQ(answer.sequence, 2u);
  EXPECT_EQ(rows(kAlerts, 1), "1:0 2:0");
}

TEST_F(RecordStoreTest, a_lost_range_is_a_gap_and_the_lane_goes_on_behind_it) {
  open();
  put(batch_of(kAlerts, 1, 1, 2));
  Append lost{.key = kAlerts, .epoch = 1, .first_sequence = 3, .lost_until = 9, .lost_why = 1};
  EXPECT_EQ(put(std::move(lost)).sequence, 9u);
  Append again{.key = kAlerts, .epoch = 1, .first_sequence = 3, .lost_until = 9, .lost_why = 1};
  EXPECT_EQ(put(std::move(again)).sequence, 9u);
  EXPECT_EQ(put(batch_of(kAlerts, 1, 10, 1)).sequence, 10u);
  EXPECT_EQ(rows(kAlerts, 1), "1:0 2:0 10:0") << "what follows a gap breaks no chain";
  EXPECT_EQ(records->counters().gaps, 1u);
  EXPECT_EQ(records->counters().lost, 7u);
}

TEST_F(RecordStoreTest, lanes_hosts_and_epochs_count_for_themselves) {
  open();
  LaneKey other{8, StoreLane::alert};
  EXPECT_EQ(put(batch_of(kAlerts, 1, 1, 2)).sequence, 2u);
  EXPECT_EQ(put(batch_of(kAudit, 1, 1, 1)).sequence, 1u);
  EXPECT_EQ(put(batch_of(other, 1, 1, 1)).sequence, 1u);
  EXPECT_EQ(put(batch_of(kAlerts, 2, 1, 1)).sequence, 1u);
  EXPECT_EQ(put(batch_of(kAlerts, 1, 3, 1)).sequence, 3u) << "the old epoch may still end";
  EXPECT_EQ(records->positions(7).size(), 3u);
}

TEST_F(RecordStoreTest, an_epoch_older_than_all_that_are_kept_is_refused) {
  open();
  for (std::uint64_t epoch = 10; epoch < 10 + kMaxEpochs; ++epoch)
    put(batch_of(kAlerts, epoch, 1, 1));
  EXPECT_EQ(put(batch_of(kAlerts, 9, 1, 1)).outcome, AppendOutcome::old_epoch);
  EXPECT_EQ(put(batch_of(kAlerts, 99, 1, 1)).outcome, AppendOutcome::stored);
  EXPECT_EQ(rows(kAlerts, 9), "");
}

TEST_F(RecordStoreTest, a_record_that_does_not_follow_the_one_before_is_stored_and_flagged) {
  open();
  put(batch_of(kAlerts, 1, 1, 1));
  Append forged = batch_of(kAlerts, 1, 2, 2);
  forged.records[0].previous_hash = digest_of(77);
  EXPECT_EQ(put(std::move(forged)).sequence, 3u);
  Append first = batch_of(kAudit, 1, 1, 1);
  first.records[0].previous_hash = digest_of(5);  // the first of an epoch follows zeros
  put(std::move(first));
  EXPECT_EQ(rows(kAlerts, 1), "1:0 2:1 3:0");
  EXPECT_EQ(rows(kAudit, 1), "1:1");
}

TEST_F(RecordStoreTest, a_record_follows_what_is_stored_not_what_its_batch_tells_anew) {
  open();
  put(batch_of(kAlerts, 1, 1, 2));
  Append rewritten = batch_of(kAlerts, 1, 2, 3);  // another 2, and a 3 that follows the stored one
  rewritten.records[0].hash = digest_of(50);
  put(std::move(rewritten));
  EXPECT_EQ(rows(kAlerts, 1), "1:0 2:0 3:0 4:0");
  Append forged = batch_of(kAlerts, 1, 4, 4);  // another 4, a 5 that follows that one, a foreign 7
  forged.records[0].hash = forged.records[1].previous_hash = digest_of(50);
  forged.records[3].previous_hash = digest_of(60);
  put(std::move(forged));
  EXPECT_EQ(rows(kAlerts, 1), "1:0 2:0 3:0 4:0 5:1 6:0 7:1");
  EXPECT_EQ(records->counters().chain_breaks, 2u);
}

TEST_F(RecordStoreTest, a_batch_that_is_told_in_part_again_stores_the_rest_as_it_came) {
  open();
  put(batch_of(kAlerts, 1, 1, 2));
  Append again = batch_of(kAlerts, 1, 1, 4);
  for (NewRecord& record : again.records) {
    record.key_id = "key";
    record.nonce = record.ciphertext + "!";
    record.flags = kEncrypted;
    record.report = ReportColumns{.id = "r" + record.ciphertext};
  }
  put(std::move(again));
  auto db = Database::open(day_path(folder.path(), fleet->days()[0]), Database::Mode::write);
  std::string found;
  EXPECT_TRUE(each_stored_record(*db, [&](const StoredRecord& at) {
    if (at.sequence < 3) return;
    EXPECT_EQ(text_of(at.record.key_id), "key");
    found += fmt::format("{} {} {};", text_of(at.record.ciphertext), text_of(at.record.nonce),
                         at.record.flags);
  }));
  EXPECT_EQ(found, "7/1/3 7/1/3! 8;7/1/4 7/1/4! 8;");
  EXPECT_FALSE(*reader->newest("r7/1/2")) << "told again";
  for (const char* body : {"7/1/3", "7/1/4"}) {
    auto report = reader->newest(std::string("r") + body);
    ASSERT_TRUE(report && *report);
    EXPECT_EQ((*report)->ciphertext, body);
  }
}

TEST_F(RecordStoreTest, watermarks_outlive_a_restart_and_the_turn_of_days) {
  open();
  put(batch_of(kAlerts, 1, 1, 2));
  put(batch_of(kAudit, 5, 1, 1));
  now_ns += kDayNs;
  EXPECT_EQ(put(batch_of(kAlerts, 1, 2, 2)).sequence, 3u);
  now_ns += 3 * kDayNs;
  open();
  EXPECT_EQ(put(batch_of(kAlerts, 1, 1, 4)).sequence, 4u);
  EXPECT_EQ(put(batch_of(kAudit, 5, 1, 1)).sequence, 1u) << "not told on the second day at all";
  EXPECT_EQ(rows(kAlerts, 1), "1:0 2:0 3:0 4:0");
  EXPECT_EQ(rows(kAudit, 5), "1:0");
  EXPECT_EQ(fleet->days().size(), 3u);
}

TEST_F(RecordStoreTest, a_clock_that_is_set_back_goes_on_in_the_newest_day) {
  open();
  now_ns += 2 * kDayNs;
  put(batch_of(kAlerts, 1, 1, 1));
  now_ns -= 2 * kDayNs;
  put(batch_of(kAlerts, 1, 2, 1));
  open();
  EXPECT_EQ(put(batch_of(kAlerts, 1, 1, 2)).sequence, 2u);
  EXPECT_EQ(rows(kAlerts, 1), "1:0 2:0");
}

TEST_F(RecordStoreTest, many_hosts_share_a_commit) {
  open();
  std::atomic<int> left = 400;
  std::promise<void> all;
  for (std::uint32_t host = 1; host <= 400; ++host) {
    Append append = batch_of({host, StoreLane::alert}, 1, 1, 5);
    append.done = [&](const Appended&) {
      if (--left == 0) all.set_value();
    };
    ASSERT_TRUE(records->append(append));
  }
  all.get_future().get();
  EXPECT_EQ(records->counters().records, 2'000u);
  EXPECT_LT(records->counters().commits, 100u);
}

TEST_F(RecordStoreTest, a_full_disk_acknowledges_nothing_says_so_once_and_goes_on_with_room) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs CAP_SYS_ADMIN to mount a small tmpfs";
  if (::mount("weir-store-test", folder.path().c_str(), "tmpfs", 0, "size=1m") != 0)
    GTEST_SKIP() << "needs CAP_SYS_ADMIN to mount a small tmpfs";
  open();
  std::string filler = folder.path() + "/filler";
  std::ofstream(filler) << std::string(4 << 20, 'x');  // as much as goes in
  Append append = batch_of(kAlerts, 1, 1, 1);
  append.records[0].ciphertext.assign(100'000, 'r');
  std::promise<Appended> promise;
  append.done = [&](const Appended& appended) { promise.set_value(appended); };
  ASSERT_TRUE(records->append(append));
  auto answer = promise.get_future();
  EXPECT_EQ(answer.wait_for(std::chrono::milliseconds(1'200)), std::future_status::timeout);
  EXPECT_TRUE(records->positions(7).empty());
  std::filesystem::remove(filler);
  EXPECT_EQ(answer.wait_for(std::chrono::seconds(10)), std::future_status::ready);
  {
    std::lock_guard lock(mutex);
    ASSERT_GE(sentences.size(), 1u);
    EXPECT_NE(sentences[0].find("full"), std::string::npos) << sentences[0];
    EXPECT_LE(sentences.size(), 2u);
  }
  records.reset();
  reader.reset();
  fleet.reset();
  ::umount2(folder.path().c_str(), MNT_DETACH);
}

TEST_F(RecordStoreTest, more_than_may_wait_is_refused_and_left_with_the_caller) {
  open();
  StandingWriter writer(*records, kAlerts);
  std::uint64_t next = 2;
  bool refused = false;
  for (int n = 0; n < 100 && !refused; ++n) {
    Append append = batch_of(kAlerts, 1, next, 1);
    append.records[0].ciphertext.assign(1 << 20, 'x');
    refused = !records->append(append);
    if (refused) EXPECT_EQ(append.records.size(), 1u);
    next += refused ? 0 : 1;
  }
  writer.let_go();
  EXPECT_TRUE(refused);
  EXPECT_LE(next, 35u);
}

// ---- damaged, foreign or missing files ----------------------------------------------------------

class DamagedStoreTest : public StoreTest {
 protected:
  void SetUp() override {
    open();
    put(batch_of(kAlerts, 1, 1, 200));
    day = day_path(folder.path(), fleet->days().back());
    close();
  }
  void close() {
    reader.reset();
    records.reset();
    fleet.reset();
  }
  std::string sentence_of_opening() {
    auto opened = FleetStore::open(folder.path());
    if (!opened) return opened.error().sentence;
    auto store = RecordStore::open(**opened, {.folder = folder.path(),
                                              .wall_ns = [this] { return now_ns.load(); },
                                              .say = [](const std::string&) {}});
    return store ? "" : store.error().sentence;
  }
  std::string day;
};

TEST_F(DamagedStoreTest, a_whole_one_opens) {
  EXPECT_EQ(sentence_of_opening(), "");
}

TEST_F(DamagedStoreTest, a_missing_store_file_beside_records_is_no_fresh_start) {
  std::filesystem::remove(folder.path() + "/store.db");
  EXPECT_NE(sentence_of_opening().find("store.db: is missing"), std::string::npos);
}

TEST_F(DamagedStoreTest, a_missing_day_is_named) {
  std::filesystem::remove(day);
  EXPECT_NE(sentence_of_opening().find(day + ": is missing"), std::string::npos);
}

TEST_F(DamagedStoreTest, text_in_place_of_a_file_is_refused) {
  for (const std::string& path : {day, folder.path() + "/store.db"}) {
    std::ofstream(path, std::ios::trunc) << std::string(8192, 'a');
    EXPECT_NE(sentence_of_opening().find(path), std::string::npos);
  }
}

TEST_F(DamagedStoreTest, an_empty_file_is_refused) {
  std::ofstream(day, std::ios::trunc).close();
  EXPECT_NE(sentence_of_opening().find("is not a file of a Weir store"), std::string::npos);
}

TEST_F(DamagedStoreTest, a_page_of_zeros_is_refused) {
  std::fstream file(day, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(4096);
  for (int page = 0; page < 4; ++page) file << std::string(4096, '\0');
  file.close();
  EXPECT_NE(sentence_of_opening().find(day), std::string::npos);
}

TEST_F(DamagedStoreTest, a_day_of_another_store_is_refused) {
  Folder elsewhere;
  auto other = FleetStore::open(elsewhere.path());
  ASSERT_TRUE(other);
  ASSERT_TRUE(DayFile::create(day, (*other)->id(), {}));
  EXPECT_NE(sentence_of_opening().find("belongs to another store"), std::string::npos);
}

}  // namespace
}  // namespace weir
