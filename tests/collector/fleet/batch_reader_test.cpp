// A batch is a host's word about itself: bounded, and never about another.
#include "collector/fleet/batch_reader.h"

#include <gtest/gtest.h>

#include "collector/fleet/outbox.h"
#include "weir/v1/agent.pb.h"

namespace weir {
namespace {

v1::Batch batch(int records) {
  v1::Batch batch;
  batch.set_lane(v1::Lane::alert);
  batch.set_epoch(1);
  batch.set_first_sequence(1);
  for (int n = 0; n < records; ++n) {
    v1::Record record;
    record.mutable_report()->set_id("r" + std::to_string(n));
    record.mutable_report()->mutable_time()->set_seconds(5);
    v1::SealedRecord& sealed = *batch.add_records();
    sealed.set_previous_hash(std::string(32, '\0'));
    sealed.set_ciphertext(record.SerializeAsString());
  }
  return batch;
}

TEST(BatchReader, a_report_is_found_by_its_columns) {
  v1::Batch one = batch(1);
  v1::Record record;
  record.ParseFromString(one.records(0).ciphertext());
  v1::Report& report = *record.mutable_report();
  report.set_revision(3);
  report.mutable_finding()->set_detector("dns_tunnel");
  report.mutable_finding()->set_severity(v1::Severity::high);
  report.mutable_actor()->mutable_person()->mutable_user()->set_uid(0);
  one.mutable_records(0)->set_ciphertext(record.SerializeAsString());
  auto append = read_batch(one, 7, "h");
  ASSERT_TRUE(append);
  const ReportColumns& columns = *append->records[0].report;
  EXPECT_EQ(columns.id, "r0");
  EXPECT_EQ(columns.revision, 3u);
  EXPECT_EQ(columns.time_ns, 5'000'000'000);
  EXPECT_EQ(columns.severity, 4);
  EXPECT_EQ(columns.detector, "dns_tunnel");
  EXPECT_EQ(columns.uid, 0);
  EXPECT_EQ(append->records[0].flags, 0);
}

TEST(BatchReader, another_hosts_id_is_flagged_and_overwritten_by_the_certificates) {
  v1::Batch one = batch(1);
  v1::Record record;
  record.ParseFromString(one.records(0).ciphertext());
  record.mutable_report()->mutable_host()->set_id("somebody-else");
  one.mutable_records(0)->set_ciphertext(record.SerializeAsString());
  auto append = read_batch(one, 7, "h");
  ASSERT_TRUE(append);
  EXPECT_EQ(append->records[0].flags, kOtherHost);
  v1::Report report;
  ASSERT_TRUE(report_in(append->records[0].ciphertext, "h", "desk", report));
  EXPECT_EQ(report.host().id(), "h");
}

TEST(BatchReader, what_cannot_be_read_is_kept_and_flagged) {
  v1::Batch two = batch(3);
  two.mutable_records(0)->set_ciphertext("\xff\xff nonsense");
  two.mutable_records(1)->set_key_id("key");
  two.mutable_records(2)->mutable_ciphertext()->append("\x0a\x05");  // cut short
  auto append = read_batch(two, 7, "h");
  ASSERT_TRUE(append);
  EXPECT_EQ(append->records[0].flags, kUnreadable);
  EXPECT_EQ(append->records[1].flags, kEncrypted);
  EXPECT_EQ(append->records[2].flags, kUnreadable);
}

TEST(BatchReader, deep_nesting_is_unreadable_not_a_stack) {
  v1::Batch one = batch(1);
  std::string nested;  // Record.event (2) → policy_changed (22) → policy (1) → rules (12) → when
                       // (2) → parts (2)…
  auto wrap = [&](int field) {
    std::string tag, length;
    for (auto v = static_cast<std::uint32_t>(field << 3 | 2);; v >>= 7) {
      tag += static_cast<char>((v & 0x7f) | (v > 0x7f ? 0x80 : 0));
      if (v <= 0x7f) break;
    }
    for (auto v = static_cast<std::uint32_t>(nested.size());; v >>= 7) {
      length += static_cast<char>((v & 0x7f) | (v > 0x7f ? 0x80 : 0));
      if (v <= 0x7f) break;
    }
    nested = tag + length + nested;
  };
  for (int n = 0; n < 10'000; ++n) wrap(2);
  for (int field : {2, 12, 1, 22, 2}) wrap(field);
  one.mutable_records(0)->set_ciphertext(nested);
  auto append = read_batch(one, 7, "h");
  ASSERT_TRUE(append);
  EXPECT_EQ(append->records[0].flags, kUnreadable);
}

TEST(BatchReader, malformed_batches_end_the_stream) {
  auto refused = [](const std::function<void(v1::Batch&)>& change) {
    v1::Batch changed = batch(2);
    change(changed);
    return !read_batch(changed, 7, "h").has_value();
  };
  EXPECT_FALSE(refused([](v1::Batch&) {}));
  EXPECT_TRUE(refused([](v1::Batch& b) { b.set_lane(v1::Lane::LANE_UNSPECIFIED); }));
  EXPECT_TRUE(refused([](v1::Batch& b) { b.set_lane(static_cast<v1::Lane::Value>(9)); }));
  EXPECT_TRUE(refused([](v1::Batch& b) { b.set_first_sequence(0); }));
  EXPECT_TRUE(refused([](v1::Batch& b) { b.set_first_sequence(UINT64_MAX); }));
  EXPECT_TRUE(refused([](v1::Batch& b) { b.clear_records(); }));
  EXPECT_TRUE(refused([](v1::Batch& b) { b = batch(kMaxBatchRecords + 1); }));
  EXPECT_TRUE(refused([](v1::Batch& b) { b.mutable_records(1)->set_previous_hash("short"); }));
  EXPECT_TRUE(refused([](v1::Batch& b) { b.mutable_lost()->set_last_sequence(9); }));
  EXPECT_TRUE(refused([](v1::Batch& b) {
    b.clear_records();
    b.set_first_sequence(9);
    b.mutable_lost()->set_last_sequence(8);
  }));
  EXPECT_TRUE(refused([](v1::Batch& b) {
    b.clear_records();
    b.mutable_lost()->set_last_sequence(UINT64_MAX);
  }));
}

std::size_t shared_ = 0;  // bytes of the last message that streams have in common

bool take(Outbox& outbox, v1::ConnectResponse& message) {
  std::optional<Outgoing> next = outbox.next();
  shared_ = next && next->shared ? next->shared->size() : 0;
  return next && message.ParseFromString(next->bytes + (next->shared ? *next->shared : ""));
}

TEST(Outbox, a_slow_reader_gets_one_acknowledgement_a_lane_and_the_newest_policy) {
  Outbox outbox;
  auto policy = [](const std::string& envelope) {
    v1::SignedPolicy signed_policy;
    signed_policy.set_envelope(envelope);
    return std::make_shared<const std::string>(signed_policy.SerializeAsString());
  };
  outbox.policy(policy("old"));
  for (std::uint64_t n = 1; n <= 1'000; ++n)
    outbox.acknowledge({.lane = StoreLane::alert, .epoch = 1, .sequence = n});
  outbox.policy(policy("new"));
  v1::ConnectResponse message;
  ASSERT_TRUE(take(outbox, message));
  ASSERT_EQ(message.acknowledgement().stored_size(), 1);
  EXPECT_EQ(message.acknowledgement().stored(0).sequence(), 1'000u);
  ASSERT_TRUE(take(outbox, message));
  EXPECT_EQ(message.policy().envelope(), "new");
  EXPECT_EQ(shared_, message.policy().ByteSizeLong()) << "it is there once, whoever reads it";
  EXPECT_FALSE(take(outbox, message));
}

TEST(Outbox, a_command_that_waits_is_not_added_again) {
  Outbox outbox;
  v1::Command command;
  command.set_body("body");
  const auto bytes = std::make_shared<const std::string>(command.SerializeAsString());
  for (int n = 0; n < 100; ++n) outbox.command(bytes);
  v1::ConnectResponse message;
  ASSERT_TRUE(take(outbox, message));
  EXPECT_EQ(message.command().body(), "body");
  EXPECT_FALSE(take(outbox, message));
}

TEST(read_request, a_message_that_would_unfold_is_refused_before_it_is_read) {
  auto read = [](const v1::ConnectRequest& request) {
    v1::ConnectRequest again;
    return read_request(request.SerializeAsString(), again) &&
           again.SerializeAsString() == request.SerializeAsString();
  };
  v1::ConnectRequest request;
  EXPECT_TRUE(read(request));
  v1::Batch& batch = *request.mutable_batch();
  for (std::uint32_t n = 0; n < kMaxBatchRecords; ++n)
    batch.add_records()->set_ciphertext(std::string(1'000, 'x'));
  EXPECT_TRUE(read(request));
  for (int n = 0; n < 20; ++n) batch.add_records();
  EXPECT_FALSE(read(request)) << "more records than a batch has";
  request.mutable_hello()->set_version(std::string(1'000, 'x'));
  EXPECT_TRUE(read(request));
  request.mutable_hello()->set_version(std::string(kMaxSmallBytes, 'x'));
  EXPECT_FALSE(read(request)) << "only a batch may be large";
  for (const std::string& damaged :
       {std::string("\x12\x05\x08"), std::string("\x12\xff\xff\xff\xff\xff"), std::string("\x07"),
        std::string("\x12\x02\x22\x05"), std::string(kMaxMessageBytes + 1, '\x08')})
    EXPECT_FALSE(read_request(damaged, request));
}

TEST(Outbox, epochs_without_end_do_not_grow_it) {
  Outbox outbox;
  for (std::uint64_t n = 1; n <= 10'000; ++n)
    outbox.acknowledge({.lane = StoreLane::alert, .epoch = n, .sequence = 1});
  v1::ConnectResponse message;
  ASSERT_TRUE(take(outbox, message));
  EXPECT_LE(message.acknowledgement().stored_size(), 24);
}

}  // namespace
}  // namespace weir
