// What the guard makes of commands about exceptions: its own ceilings, the table as it is kept, and
// what persons are told.
#include "agent/guard/exceptions.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstring>
#include <memory>

#include "core/base/fixed_text.h"

namespace weir {
namespace {

using wire::CommandRefusal;

constexpr Now kNow{1'800'000'000, 5'000'000'000'000, {1}};

struct Flat {
  Flat() {
    header.enforce = 1;
    header.proves_names = 1;
    header.rules = 2;
    header.rule[0] = flat_rule("uploads");
    header.rule[1] = flat_rule("daily");
    policy.header = &header;
  }
  FlatHeader header;
  FlatPolicy policy;
};

CommandReading except(std::uint8_t id = 1, const char* domain = "files.example") {
  CommandReading reading;
  reading.magic = kCommandReadingMagic;
  reading.verb = 4;
  reading.lease_s = 3600;
  reading.id.fill(id);
  put_text(reading.host_id, "host-1");
  put_text(reading.asked, "ops: monthly report");
  ExceptionReading& what = reading.exception;
  what.person = 1000;
  what.bytes = 1 << 20;
  what.rules = 1;
  put_text(what.rule[0], "uploads");
  put_text(what.domain, domain);
  put_text(what.request, "0123");
  return reading;
}

template <class T>
Bytes bytes_of_block(const T& block) {
  return {reinterpret_cast<const std::uint8_t*>(&block), sizeof block};
}

class ExceptionCommands : public testing::Test {
 protected:
  CommandRefusal next(const CommandReading& command, Now at = kNow,
                      CommandRefusal before = CommandRefusal::none) {
    const std::uint32_t leases = table->leases;
    NextTable made = next_exceptions(*table, command, flat.policy, at, before);
    if (made.table) *table = *made.table;
    if (made.why == CommandRefusal::none)
      EXPECT_TRUE(made.table);
    else
      EXPECT_EQ(table->leases, leases) << "what is refused changes nothing that holds";
    EXPECT_TRUE(ExceptionTable::read(table->bytes())) << "every table that is made can be read";
    return made.why;
  }
  Flat flat;
  std::unique_ptr<ExceptionTable> table = std::make_unique<ExceptionTable>(ExceptionTable::none());
};

TEST_F(ExceptionCommands, one_within_the_ceilings_holds_and_its_person_is_told) {
  EXPECT_EQ(next(except()), CommandRefusal::none);
  ASSERT_EQ(table->leases, 1u);
  const HeldLease& lease = table->lease[0];
  EXPECT_EQ(lease.until_wall_s, kNow.wall_s + 3600);
  EXPECT_EQ(lease.until_boot_ns, kNow.boot_ns + 3600ull * 1'000'000'000);
  EXPECT_NE(lease.number, 0u);
  ASSERT_EQ(table->answers, 1u);
  EXPECT_EQ(table->answer[0].outcome, RequestAnswer::approved);
  EXPECT_STREQ(table->answer[0].words.data(), "ops: monthly report");
  const std::vector<Exception> all = exceptions_of(*table);
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].person, 1000u);
  EXPECT_EQ(all[0].domain, "files.example");
  EXPECT_EQ(all[0].sets_aside, std::vector<std::string>{"uploads"});
}

TEST_F(ExceptionCommands, above_the_ceilings_or_of_a_rule_that_is_none_are_refused) {
  CommandReading reading = except();
  reading.exception.bytes = kMostExceptionBytes + 1;
  EXPECT_EQ(next(reading), CommandRefusal::over_ceiling);
  reading = except();
  reading.lease_s = kLongestException_s + 1;
  EXPECT_EQ(next(reading), CommandRefusal::over_ceiling);
  reading = except();
  reading.lease_s = 0;
  reading.exception.until_wall_s = kNow.wall_s + kLongestException_s + 1;
  EXPECT_EQ(next(reading), CommandRefusal::over_ceiling);
  reading.exception.until_wall_s = kNow.wall_s - 1;
  EXPECT_EQ(next(reading), CommandRefusal::expired);
  reading = except();
  put_text(reading.exception.rule[0], "upload");
  EXPECT_EQ(next(reading), CommandRefusal::unknown_rule);
  flat.header.enforce = 0;
  EXPECT_EQ(next(except()), CommandRefusal::failed) << "nothing is bounded";
  EXPECT_EQ(table->leases, 0u);
}

TEST_F(ExceptionCommands, of_a_name_is_refused_where_no_resolver_could_ever_prove_it) {
  flat.header.proves_names = 0;
  const NextTable made = next_exceptions(*table, except(), flat.policy, kNow);
  EXPECT_EQ(made.why, CommandRefusal::unprovable);
  EXPECT_EQ(made.words, "files.example");
  CommandReading by_address = except();
  by_address.exception.domain.fill(0);
  by_address.exception.address.fill(7);
  by_address.exception.length = 128;
  EXPECT_EQ(next(by_address), CommandRefusal::none) << "an address needs no proof";
}

TEST_F(ExceptionCommands, of_a_name_that_was_not_proven_is_done_and_says_so) {
  CommandReading reading = except();
  EXPECT_EQ(next_exceptions(*table, reading, flat.policy, kNow).note,
            CommandRefusal::name_unproven);
  reading.exception.proven = 1;
  EXPECT_EQ(next_exceptions(*table, reading, flat.policy, kNow).note, CommandRefusal::none);
  reading = except();
  reading.exception.domain.fill(0);
  reading.exception.address.fill(7);
  reading.exception.length = 128;
  EXPECT_EQ(next_exceptions(*table, reading, flat.policy, kNow).note, CommandRefusal::none);
}

TEST_F(ExceptionCommands, the_earlier_of_its_two_ends_counts) {
  CommandReading reading = except();
  reading.exception.until_wall_s = kNow.wall_s + 60;
  EXPECT_EQ(next(reading), CommandRefusal::none);
  EXPECT_EQ(table->lease[0].until_wall_s, kNow.wall_s + 60);
}

TEST_F(ExceptionCommands, one_for_the_same_person_and_place_replaces_the_one_before) {
  EXPECT_EQ(next(except(1)), CommandRefusal::none);
  const std::uint32_t first = table->lease[0].number;
  EXPECT_EQ(next(except(2)), CommandRefusal::none);
  ASSERT_EQ(table->leases, 1u);
  EXPECT_NE(table->lease[0].number, first) << "an account of its own";
  EXPECT_EQ(next(except(3, "other.example")), CommandRefusal::none);
  EXPECT_EQ(table->leases, 2u);
}

TEST_F(ExceptionCommands, an_exception_is_of_its_person_and_of_nobody_else) {
  next(except());
  const std::uint32_t number = table->lease[0].number;
  EXPECT_FALSE(table->is_of_another(number, 1000));
  EXPECT_TRUE(table->is_of_another(number, 1001));
  EXPECT_FALSE(table->is_of_another(number + 1, 1001)) << "that one holds no longer";
}

TEST_F(ExceptionCommands, a_full_table_takes_no_more_and_loses_none) {
  for (std::size_t n = 0; n < kMaxExceptions; ++n)
    ASSERT_EQ(next(except(static_cast<std::uint8_t>(n + 1),
                          ("a" + std::to_string(n) + ".example").c_str())),
              CommandRefusal::none);
  EXPECT_EQ(next(except(99, "b.example")), CommandRefusal::exceptions_full);
  EXPECT_EQ(table->leases, kMaxExceptions);
}

TEST_F(ExceptionCommands, undo_ends_the_lease_of_that_id_alone) {
  next(except(1));
  next(except(2, "other.example"));
  CommandReading undo;
  undo.verb = 3;
  undo.lease.fill(9);
  EXPECT_EQ(next(undo), CommandRefusal::no_lease);
  undo.lease.fill(1);
  EXPECT_EQ(next(undo), CommandRefusal::none);
  ASSERT_EQ(table->leases, 1u);
  EXPECT_STREQ(table->lease[0].what.domain.data(), "other.example");
  EXPECT_EQ(next(undo), CommandRefusal::no_lease);
}

TEST_F(ExceptionCommands, who_asked_is_told_that_the_host_refused_what_was_approved) {
  CommandReading reading = except();
  put_text(reading.exception.rule[0], "upload");
  EXPECT_EQ(next(reading), CommandRefusal::unknown_rule);
  ASSERT_EQ(table->answers, 1u);
  EXPECT_EQ(table->answer[0].outcome, RequestAnswer::refused);
  EXPECT_EQ(table->answer[0].why, static_cast<std::uint32_t>(CommandRefusal::unknown_rule));
  EXPECT_STREQ(table->answer[0].words.data(), "upload");
  EXPECT_STREQ(table->answer[0].request.data(), "0123");
  EXPECT_EQ(next(except(2), kNow, CommandRefusal::expired), CommandRefusal::expired);
  ASSERT_EQ(table->answers, 1u) << "decided again: the newer answer counts";
  EXPECT_EQ(table->answer[0].why, static_cast<std::uint32_t>(CommandRefusal::expired));
  EXPECT_EQ(next(except(3)), CommandRefusal::none);
  EXPECT_EQ(table->answer[0].outcome, RequestAnswer::approved);
  EXPECT_EQ(next(except(2), kNow, CommandRefusal::expired), CommandRefusal::expired);
  EXPECT_EQ(table->answer[0].outcome, RequestAnswer::approved) << "an old command says nothing now";
  reading.exception.request.fill('\0');
  *table = ExceptionTable::none();
  EXPECT_EQ(next(reading), CommandRefusal::unknown_rule);
  EXPECT_EQ(table->answers, 0u) << "nobody asked";
}

TEST_F(ExceptionCommands, who_asked_is_told_when_theirs_is_undone_or_replaced) {
  next(except(1));
  Now later = kNow;
  later.wall_s += 60;
  CommandReading other = except(2);
  put_text(other.exception.request, "4567");
  EXPECT_EQ(next(other, later), CommandRefusal::none);
  ASSERT_EQ(table->answers, 2u);
  EXPECT_STREQ(table->answer[1].request.data(), "0123");
  EXPECT_EQ(table->answer[1].until_wall_s, later.wall_s) << "another took its place then";
  EXPECT_EQ(table->answer[0].until_wall_s, later.wall_s + 3600);
  CommandReading undo;
  undo.verb = 3;
  undo.lease.fill(2);
  later.wall_s += 60;
  EXPECT_EQ(next(undo, later), CommandRefusal::none);
  EXPECT_EQ(table->answer[0].until_wall_s, later.wall_s);
}

TEST_F(ExceptionCommands, a_denial_is_told_and_of_many_answers_the_newest_stay) {
  CommandReading deny = except();
  deny.verb = 8;
  for (int n = 0; n < 70; ++n) {
    put_text(deny.exception.request, "request-" + std::to_string(n));
    EXPECT_EQ(next(deny), CommandRefusal::none);
  }
  EXPECT_EQ(table->answers, kMaxAnswers);
  EXPECT_STREQ(table->answer[0].request.data(), "request-69");
  EXPECT_EQ(table->answer[0].outcome, RequestAnswer::denied);
  put_text(deny.exception.request, "request-60");
  next(deny);
  EXPECT_EQ(table->answers, kMaxAnswers) << "of one request the newest answer";
  EXPECT_STREQ(table->answer[0].request.data(), "request-60");
  EXPECT_STREQ(table->answer[1].request.data(), "request-69");
}

TEST_F(ExceptionCommands, a_table_that_is_not_whole_is_none) {
  next(except());
  EXPECT_FALSE(ExceptionTable::read(table->bytes().first(100)));
  ExceptionTable bad = *table;
  bad.leases = kMaxExceptions + 1;
  EXPECT_FALSE(ExceptionTable::read(bad.bytes()));
  bad = *table;
  bad.lease[0].what.rules = 0;
  EXPECT_FALSE(ExceptionTable::read(bad.bytes()));
  bad = *table;
  bad.lease[0].what.domain.back() = 'x';
  EXPECT_FALSE(ExceptionTable::read(bad.bytes()));
  bad = *table;
  bad.lease[0].what.bytes = kMostExceptionBytes + 1;
  EXPECT_FALSE(ExceptionTable::read(bad.bytes()));
}

TEST(exception_reading, each_field_out_of_its_bounds_makes_the_readers_answer_none) {
  EXPECT_TRUE(read_command_reading(bytes_of_block(except())));
  const auto refused = [](auto change) {
    CommandReading reading = except();
    change(reading.exception);
    return !read_command_reading(bytes_of_block(reading));
  };
  EXPECT_TRUE(refused([](ExceptionReading& e) { e.rules = 0; }));
  EXPECT_TRUE(refused([](ExceptionReading& e) { e.rules = 9; }));
  EXPECT_TRUE(refused([](ExceptionReading& e) { e.rules = 2; })) << "the second has no name";
  EXPECT_TRUE(refused([](ExceptionReading& e) { e.bytes = 0; }));
  EXPECT_TRUE(refused([](ExceptionReading& e) { e.proven = 2; }));
  EXPECT_TRUE(refused([](ExceptionReading& e) { e.person = 0xffffffff; }));
  EXPECT_TRUE(refused([](ExceptionReading& e) { e.domain.fill('a'); }));
  EXPECT_TRUE(refused([](ExceptionReading& e) { e.request.fill('a'); }));
  EXPECT_TRUE(refused([](ExceptionReading& e) { e.length = 128; })) << "name and address";
  EXPECT_TRUE(refused([](ExceptionReading& e) { e.domain.fill(0), e.length = 32; }))
      << "wider than a network of one provider";
}

constexpr std::uint64_t kSecondNs = 1'000'000'000;
constexpr std::int64_t kTenYears = 10ll * 365 * 86'400;

CommandReading isolation(std::uint32_t lease_s, std::uint8_t id = 7) {
  CommandReading reading;
  reading.verb = kIsolateVerb;
  reading.lease_s = lease_s;
  reading.id.fill(id);
  put_text(reading.asked, "ops: stolen");
  return reading;
}
CommandReading undo(std::uint8_t id) {
  CommandReading reading;
  reading.verb = kUndoVerb;
  reading.lease.fill(id);
  return reading;
}

TEST_F(ExceptionCommands, an_isolation_holds_for_its_lease_and_ends_by_its_id) {
  EXPECT_EQ(next(isolation(4 * 3600 + 1)), CommandRefusal::over_ceiling);
  EXPECT_EQ(isolated_until(table->isolation, kNow, {}), 0u);
  EXPECT_EQ(next(isolation(4 * 3600), kNow, CommandRefusal::expired), CommandRefusal::expired);
  EXPECT_EQ(next(isolation(4 * 3600)), CommandRefusal::none);
  EXPECT_EQ(isolated_until(table->isolation, kNow, {}), kNow.boot_ns + 4 * 3600 * kSecondNs);
  EXPECT_EQ(isolated_until(table->isolation, kNow, 0), kNow.boot_ns + 4 * 3600 * kSecondNs)
      << "killed before the kernel had it";
  EXPECT_STREQ(table->isolation.asked.data(), "ops: stolen");
  EXPECT_EQ(next(undo(8)), CommandRefusal::no_lease);
  EXPECT_EQ(next(isolation(60, 8)), CommandRefusal::none) << "takes the place of the one before";
  EXPECT_EQ(next(undo(7)), CommandRefusal::no_lease);
  EXPECT_EQ(next(except()), CommandRefusal::none);
  EXPECT_NE(isolated_until(table->isolation, kNow, {}), 0u)
      << "an exception is about something else";
  EXPECT_EQ(next(undo(8)), CommandRefusal::none);
  EXPECT_EQ(isolated_until(table->isolation, kNow, {}), 0u);
}

TEST_F(ExceptionCommands, a_clock_that_is_set_neither_ends_an_isolation_nor_lengthens_it) {
  ASSERT_EQ(next(isolation(3600)), CommandRefusal::none);
  const std::uint64_t until = kNow.boot_ns + 3600 * kSecondNs;
  for (const std::int64_t set : {std::int64_t{60}, -kTenYears, kTenYears})
    for (const std::optional<std::uint64_t> in_kernel : {std::optional(until), {}})
      EXPECT_EQ(
          isolated_until(table->isolation,
                         {kNow.wall_s + set, kNow.boot_ns + 60 * kSecondNs, kNow.boot}, in_kernel),
          until);
}

TEST_F(ExceptionCommands, an_isolation_goes_on_over_a_reboot_for_what_is_left_of_it) {
  ASSERT_EQ(next(isolation(3600)), CommandRefusal::none);
  const HostIsolation& held = table->isolation;
  const std::uint64_t booted = 20 * kSecondNs;
  const auto first = [&](std::int64_t after_s, std::array<std::uint8_t, 16> boot = {2}) {
    return isolated_until(held, {kNow.wall_s + after_s, booted, boot}, {});
  };
  EXPECT_EQ(first(600), booted + 3000 * kSecondNs);
  EXPECT_EQ(first(3600), 0u);
  EXPECT_EQ(first(-kTenYears), booted + 3600 * kSecondNs) << "one lease at most";
  EXPECT_EQ(first(kTenYears), 0u);
  EXPECT_EQ(first(600, {}), booted + 3000 * kSecondNs) << "nobody says which boot this is";
  // A guard that starts again in that boot: what the first has put there, whatever the clock says.
  const std::uint64_t until = booted + 3000 * kSecondNs;
  for (const std::int64_t set : {std::int64_t{700}, -kTenYears, kTenYears})
    EXPECT_EQ(isolated_until(held, {kNow.wall_s + set, booted + 100 * kSecondNs, {2}}, until),
              until);
  EXPECT_EQ(isolated_until(held, {kNow.wall_s, until + 1, {2}}, until), 0u);
  EXPECT_EQ(isolated_until(held, {kNow.wall_s, booted + 100 * kSecondNs, {2}}, 0), 0u)
      << "it has ended in that boot";
}

TEST_F(ExceptionCommands, a_table_that_is_lost_ends_no_isolation_and_an_older_one_is_read) {
  const ExceptionTable lost = ExceptionTable::lost();
  EXPECT_EQ(isolated_until(lost.isolation, kNow, kNow.boot_ns + 17), kNow.boot_ns + 17)
      << "what the kernel has";
  EXPECT_EQ(isolated_until(lost.isolation, kNow, 0), 0u);
  EXPECT_EQ(isolated_until(lost.isolation, kNow, {}), 0u);
  ASSERT_EQ(next(except()), CommandRefusal::none);
  table->magic = kFirstExceptionMagic;
  const Bytes first = table->bytes().first(offsetof(ExceptionTable, isolation));
  const Result<ExceptionTable> read = ExceptionTable::read(first);
  ASSERT_TRUE(read) << "of a version that isolated nobody";
  EXPECT_EQ(read->leases, 1u);
  EXPECT_FALSE(ExceptionTable::read(table->bytes()));
  table->magic = kExceptionMagic;
  EXPECT_FALSE(ExceptionTable::read(first));
  table->isolation.lease_s = kLongestIsolation_s + 1;
  EXPECT_FALSE(ExceptionTable::read(table->bytes()));
}

}  // namespace
}  // namespace weir
