// The event log: what was written is read, what is damaged ends it with a sentence and a count.
#include "platform/event_log/event_log.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <sstream>

#include "platform/event_log/event_proto.h"
#include "platform/event_log/framing.h"
#include "tests/platform/event_log/any_event.h"
#include "weir/v1/event.pb.h"

namespace weir {
namespace {

// A file that is gone when the test is.
struct ScratchFile {
  std::FILE* file = std::tmpfile();
  ~ScratchFile() { std::fclose(file); }
  int fd() const { return fileno(file); }
  std::string contents() const {
    std::string all;
    std::rewind(file);
    for (int c; (c = std::fgetc(file)) != EOF;) all.push_back(static_cast<char>(c));
    return all;
  }
};

std::string log_of(const std::vector<Event>& events) {
  ScratchFile scratch;
  {
    LogWriter writer(scratch.fd());
    for (const Event& event : events) writer.write(event);
    EXPECT_TRUE(writer.flush());
    EXPECT_EQ(writer.events(), events.size());
    EXPECT_EQ(writer.lost(), 0u);
  }
  return scratch.contents();
}

Event tick(std::int64_t at) {
  return {{at, at}, Tick{}};
}

struct ReadBack {
  std::uint64_t events = 0;
  LogDamage damage;
  bool opened = false;
};

ReadBack read_all(const std::string& bytes) {
  std::istringstream input(bytes);
  Result<LogReader> reader = LogReader::open(input);
  if (!reader) return {};
  Event event;
  while (reader->next(event)) {
  }
  return {reader->events(), reader->damage(), true};
}

RC_GTEST_PROP(event_log, any_events_come_back_in_order_and_whole, ()) {
  std::vector<AnyEvent> written(*rc::gen::inRange<std::size_t>(0, 8));
  for (AnyEvent& one : written) one = any::event();
  std::vector<Event> events;
  for (const AnyEvent& one : written) events.push_back(one.event);
  std::istringstream input(log_of(events));
  Result<LogReader> reader = LogReader::open(input);
  RC_ASSERT(reader.has_value());
  Event back;
  for (const Event& event : events) {
    if (!reader->next(back)) RC_FAIL(reader->damage().sentence);
    RC_ASSERT(same(event, back));
  }
  RC_ASSERT(!reader->next(back));
  RC_ASSERT(reader->damage().sentence.empty());
}

RC_GTEST_PROP(event_log, one_changed_byte_never_gives_another_event, ()) {
  std::vector<AnyEvent> written(5);
  for (AnyEvent& one : written) one = any::event();
  std::vector<Event> events;
  for (const AnyEvent& one : written) events.push_back(one.event);
  std::string bytes = log_of(events);
  std::size_t at = *rc::gen::inRange<std::size_t>(0, bytes.size());
  bytes[at] = static_cast<char>(bytes[at] ^ *rc::gen::inRange(1, 256));
  std::istringstream input(bytes);
  Result<LogReader> reader = LogReader::open(input);
  if (!reader) return;
  Event back;
  std::size_t n = 0;
  for (; reader->next(back); ++n) RC_ASSERT(same(events[n], back));
  RC_ASSERT(n < events.size() && !reader->damage().sentence.empty());
}

TEST(event_log, a_log_that_was_cut_anywhere_gives_the_whole_records_before_the_cut) {
  std::string bytes = log_of({tick(1), tick(2), tick(3)});
  std::size_t record = (bytes.size() - kLogHeaderBytes) / 3;
  for (std::size_t n = kLogHeaderBytes; n < bytes.size(); ++n) {
    ReadBack back = read_all(bytes.substr(0, n));
    std::size_t whole = (n - kLogHeaderBytes) / record;
    std::size_t rest = (n - kLogHeaderBytes) % record;
    EXPECT_EQ(back.events, whole) << n;
    EXPECT_EQ(back.damage.bytes_skipped, rest) << n;
    EXPECT_EQ(back.damage.sentence.empty(), rest == 0) << n;
  }
}

TEST(event_log, the_sentence_names_record_and_offset_and_what_is_wrong) {
  std::string bytes = log_of({tick(1), tick(2)});
  bytes.back() ^= 1;
  ReadBack back = read_all(bytes);
  EXPECT_EQ(back.events, 1u);
  EXPECT_NE(back.damage.sentence.find("record 1 at byte"), std::string::npos);
  EXPECT_NE(back.damage.sentence.find("checksum"), std::string::npos);
}

TEST(event_log, a_record_that_was_left_out_doubled_or_moved_ends_the_log) {
  std::string bytes = log_of({tick(1), tick(2), tick(3)});
  std::string head = bytes.substr(0, kLogHeaderBytes);
  std::size_t size = (bytes.size() - kLogHeaderBytes) / 3;
  auto record = [&](std::size_t i) { return bytes.substr(kLogHeaderBytes + i * size, size); };
  EXPECT_EQ(read_all(head + record(0) + record(1) + record(2)).events, 3u);
  EXPECT_EQ(read_all(head + record(0) + record(2)).events, 1u);
  EXPECT_EQ(read_all(head + record(0) + record(0)).events, 1u);
  EXPECT_EQ(read_all(head + record(1) + record(0)).events, 0u);
}

// A record of the log with any payload, as a later version or an attacker would write it.
std::string with_payload(std::uint64_t number, const std::string& payload) {
  auto header = event_log::header_of(number, bytes_of(payload));
  return std::string(text_of(header)) + payload;
}

TEST(event_log, an_event_of_a_later_version_is_skipped_and_the_next_one_read) {
  std::string bytes = log_of({tick(1)});
  v1::Event later;
  later.mutable_file_deleted();
  bytes += with_payload(1, later.SerializeAsString());
  v1::Event last;
  last.mutable_tick();
  bytes += with_payload(2, last.SerializeAsString());
  ReadBack back = read_all(bytes);
  EXPECT_EQ(back.events, 2u);
  EXPECT_EQ(back.damage.events_skipped, 1u);
  EXPECT_EQ(back.damage.bytes_skipped, 0u);
  EXPECT_NE(back.damage.sentence.find("does not know"), std::string::npos);
}

TEST(event_log, an_unknown_field_of_an_event_is_ignored) {
  v1::Event event;
  event.mutable_tick();
  event.GetReflection()->MutableUnknownFields(&event)->AddVarint(500, 1);
  EXPECT_EQ(read_all(log_of({}) + with_payload(0, event.SerializeAsString())).events, 1u);
}

TEST(event_log, a_policy_that_can_not_be_obeyed_is_skipped_with_the_reason) {
  v1::Event event;
  to_proto({{}, PolicyChanged{std::make_shared<const Policy>()}}, event);
  event.mutable_policy_changed()->mutable_policy()->add_rules()->add_limits(9);
  ReadBack back = read_all(log_of({}) + with_payload(0, event.SerializeAsString()));
  EXPECT_EQ(back.events, 0u);
  EXPECT_NE(back.damage.sentence.find("names limit 9"), std::string::npos);
}

TEST(event_log, numbers_out_of_range_are_skipped_with_the_field) {
  v1::Event event;
  event.mutable_flow_usage()->mutable_flow()->mutable_client()->set_port(65536);
  ReadBack back = read_all(log_of({}) + with_payload(0, event.SerializeAsString()));
  EXPECT_NE(back.damage.sentence.find("port is 65536"), std::string::npos);
}

TEST(event_log, a_record_that_says_it_is_huge_costs_no_memory) {
  std::string bytes = log_of({});
  bytes += std::string("\xff\xff\xff\x7f", 4) + std::string(8, '\0');
  ReadBack back = read_all(bytes);
  EXPECT_NE(back.damage.sentence.find("beyond the limit"), std::string::npos);
  EXPECT_EQ(back.damage.bytes_skipped, 12u);
}

// The seed of the fuzzer, written by the first release: later ones must go on reading it.
TEST(event_log, a_log_of_version_1_is_read_and_written_byte_for_byte) {
  std::ifstream file(WEIR_SOURCE_DIR "/tests/fuzz/corpus/event_log/version_1", std::ios::binary);
  std::string golden(std::istreambuf_iterator<char>(file), {});
  EXPECT_EQ(text_of(bytes_of(log_of({tick(1), tick(2), tick(-1)}))), golden);
  EXPECT_EQ(read_all(golden).events, 3u);
  EXPECT_EQ(read_all(golden).damage.sentence, "");
}

TEST(event_log, an_unknown_version_and_what_is_no_log_are_refused) {
  std::string bytes = log_of({tick(1)});
  bytes[8] = 2;
  std::istringstream later(bytes);
  Result<LogReader> reader = LogReader::open(later);
  ASSERT_FALSE(reader);
  EXPECT_NE(reader.error().sentence.find("version 2"), std::string::npos);
  for (const std::string& other :
       {std::string(), std::string("\xd4\xc3\xb2\xa1 a capture"), bytes.substr(0, 7)}) {
    EXPECT_FALSE(read_all(other).opened);
    EXPECT_FALSE(is_event_log(bytes_of(other)));
  }
  EXPECT_TRUE(is_event_log(bytes_of(bytes)));
}

TEST(event_log, a_full_disk_ends_the_log_and_counts_what_follows) {
  std::FILE* full = std::fopen("/dev/full", "w");
  ASSERT_NE(full, nullptr);
  {
    LogWriter writer(fileno(full));
    writer.write(tick(1));
    EXPECT_FALSE(writer.flush());
    writer.write(tick(2));
    writer.write(tick(3));
    EXPECT_EQ(writer.lost(), 3u);
    EXPECT_EQ(writer.events(), 0u);
    EXPECT_NE(writer.sentence().find("No space left"), std::string::npos);
  }
  std::fclose(full);
}

TEST(event_log, an_event_beyond_the_record_limit_is_left_out_and_counted) {
  std::string huge(kMaxLogRecord, 'x');
  ScratchFile scratch;
  LogWriter writer(scratch.fd());
  writer.write({{},
                Packet{LinkType::raw_ip,
                       Direction::outgoing,
                       bytes_of(huge),
                       static_cast<std::uint32_t>(huge.size()),
                       {}}});
  writer.write(tick(1));
  EXPECT_TRUE(writer.flush());
  EXPECT_EQ(writer.lost(), 1u);
  EXPECT_EQ(read_all(scratch.contents()).events, 1u);
}

}  // namespace
}  // namespace weir
