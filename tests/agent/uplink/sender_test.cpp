// What goes up next, against a spool of its own.
#include "agent/uplink/sender.h"

#include <gtest/gtest.h>

#include "agent/uplink/backoff.h"
#include "tests/agent/spool/folder_fixture.h"

namespace weir {
namespace {

using spool_test::Folder;

class Sending : public testing::Test {
 protected:
  Sending()
      : writer(std::move(*SpoolWriter::open(folder.fd(), {}, spool_test::kWallNs))),
        reader(std::move(*SpoolReader::open(folder.fd()))),
        sender(reader) {
    (void)writer.commit();
  }
  void put(SpoolLane lane, int count, std::size_t bytes = 10) {
    const std::vector<std::uint8_t> record(bytes, 'r');
    for (int n = 0; n < count; ++n) (void)writer.append(lane, record);
    ASSERT_TRUE(writer.commit());
  }
  void begin(std::vector<Sender::Stored> stored = {}, std::size_t records = 500) {
    ASSERT_TRUE(sender.begin(stored, records, 256u << 10));
  }
  std::optional<OutgoingBatch> next(std::int64_t now) {
    auto batch = sender.next(now);
    EXPECT_TRUE(batch);
    return batch ? std::move(*batch) : std::nullopt;
  }
  std::uint64_t epoch() const { return writer.last()[0].epoch; }
  void acknowledge(SpoolLane lane, std::uint64_t sequence, std::int64_t now = 0) {
    sender.acknowledged({lane, {epoch(), sequence}}, now);
  }

  Folder folder;
  SpoolWriter writer;
  SpoolReader reader;
  Sender sender;
};

TEST_F(Sending, twenty_records_go_at_once_and_fewer_after_200_ms) {
  put(SpoolLane::alert, 19);
  begin();
  EXPECT_FALSE(next(1'000));
  EXPECT_EQ(sender.due_ms(), 1'200);
  EXPECT_FALSE(next(1'199));
  put(SpoolLane::alert, 1);
  auto batch = next(1'199);
  ASSERT_TRUE(batch);
  EXPECT_EQ(batch->piece.records.size(), 20u);
  put(SpoolLane::alert, 1);
  EXPECT_FALSE(next(2'000));
  batch = next(2'200);
  ASSERT_TRUE(batch);
  EXPECT_EQ(batch->piece.records.front().sequence, 21u);
}

TEST_F(Sending, behind_a_batch_is_what_the_collector_takes) {
  put(SpoolLane::telemetry, 300);
  begin({}, 100);
  auto batch = next(0);
  ASSERT_TRUE(batch);
  EXPECT_EQ(batch->piece.records.size(), 100u);
}

TEST_F(Sending, alerts_go_before_audit_before_telemetry) {
  for (SpoolLane lane : {SpoolLane::telemetry, SpoolLane::audit, SpoolLane::alert}) put(lane, 20);
  begin();
  EXPECT_EQ(next(0)->lane, SpoolLane::alert);
  EXPECT_EQ(next(0)->lane, SpoolLane::audit);
  EXPECT_EQ(next(0)->lane, SpoolLane::telemetry);
}

TEST_F(Sending, it_goes_on_behind_what_the_collector_has_of_this_epoch) {
  put(SpoolLane::alert, 50);
  begin({{SpoolLane::alert, {epoch() - 1, 49}}, {SpoolLane::alert, {epoch(), 20}}});
  EXPECT_EQ(next(0)->piece.records.front().sequence, 21u);
  EXPECT_EQ(sender.stored()[0].sequence, 20u);
}

TEST_F(Sending, what_is_on_its_way_is_bounded_until_it_is_acknowledged) {
  put(SpoolLane::telemetry, 200, 20'000);
  begin();
  std::uint64_t last = 0;
  for (auto batch = next(0); batch; batch = next(0)) last = batch->piece.records.back().sequence;
  EXPECT_LT(last, 200u);
  EXPECT_LE(sender.on_the_way(), kWindowBytes + (256u << 10));
  EXPECT_FALSE(sender.due_ms()) << "only an acknowledgement changes anything";
  acknowledge(SpoolLane::telemetry, last);
  EXPECT_EQ(sender.on_the_way(), 0u);
  EXPECT_EQ(next(0)->piece.records.front().sequence, last + 1);
}

TEST_F(Sending, a_position_that_stands_still_sends_again_from_there_and_not_in_a_loop) {
  put(SpoolLane::alert, 60);
  begin({}, 20);
  ASSERT_TRUE(next(0) && next(0) && next(0));
  acknowledge(SpoolLane::alert, 20, 0);
  acknowledge(SpoolLane::alert, 20, 5);
  EXPECT_EQ(next(5)->piece.records.front().sequence, 21u);
  acknowledge(SpoolLane::alert, 20, 10);
  EXPECT_EQ(next(10)->piece.records.front().sequence, 41u) << "once a second at most";
  EXPECT_EQ(sender.counters().rewinds, 1u);
}

TEST_F(Sending, what_was_never_sent_is_not_believed_to_be_stored) {
  put(SpoolLane::alert, 40);
  begin({}, 20);
  ASSERT_TRUE(next(0));
  acknowledge(SpoolLane::alert, 40);
  EXPECT_EQ(sender.stored()[0].sequence, 0u);
  sender.acknowledged({SpoolLane::alert, {epoch() + 1, 20}}, 0);
  EXPECT_EQ(sender.stored()[0].sequence, 0u);
}

TEST_F(Sending, a_throttled_lane_waits_and_the_others_do_not) {
  put(SpoolLane::alert, 20);
  put(SpoolLane::telemetry, 20);
  begin();
  sender.throttle(SpoolLane::alert, 500);
  EXPECT_EQ(next(0)->lane, SpoolLane::telemetry);
  EXPECT_FALSE(next(499));
  EXPECT_EQ(sender.due_ms(), 500);
  EXPECT_EQ(next(500)->lane, SpoolLane::alert);
}

TEST(BackoffTest, the_bound_doubles_to_a_minute_and_chance_decides_below_it) {
  Backoff backoff;
  constexpr std::int64_t kBounds[] = {500,    1'000,  2'000,  4'000, 8'000,
                                      16'000, 32'000, 60'000, 60'000};
  for (std::int64_t bound : kBounds) {
    Backoff same = backoff;
    EXPECT_EQ(same.next_ms(0), 0);
    EXPECT_NEAR(static_cast<double>(backoff.next_ms(UINT32_MAX)), static_cast<double>(bound), 1);
  }
  backoff.reset();
  EXPECT_LE(backoff.next_ms(UINT32_MAX), 500);
}

}  // namespace
}  // namespace weir
