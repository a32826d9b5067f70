// What the guard makes of a command that blocks a destination: what it never blocks, its ceilings,
// and how long one holds.
#include "agent/guard/blocks.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>

#include "agent/guard/exceptions.h"
#include "core/base/fixed_text.h"
#include "core/net/domain.h"
#include "platform/event_log/event_proto.h"
#include "weir/v1/event.pb.h"

namespace weir {
namespace {

using wire::CommandRefusal;

constexpr Now kNow{1'800'000'000, 5'000'000'000'000, {1}};
constexpr std::uint64_t kSecondNs = 1'000'000'000;
constexpr std::int64_t kTenYears = 10ll * 365 * 86'400;

struct Flat {
  Flat() {
    refuge("10.9.0.0/16", WEIR_REFUGE_ALL);
    refuge("10.1.0.53", WEIR_REFUGE_DNS);
    refuge("2001:db8:53::53", WEIR_REFUGE_DNS);
    refuge("198.51.100.9", WEIR_REFUGE_GATEWAY);
    policy.header = &header;
  }
  void refuge(const char* where, std::uint32_t what) {
    const Prefix prefix = *Prefix::parse(where);
    FlatRefuge& one = header.refuge[header.refuges++];
    one.address = prefix.address.bytes;
    one.length = prefix.length;
    one.what = what;
  }
  FlatHeader header;
  FlatPolicy policy;
};

CommandReading block(const char* place, std::uint8_t id = 1, std::uint32_t lease_s = 3'600) {
  CommandReading reading;
  reading.magic = kCommandReadingMagic;
  reading.verb = kBlockVerb;
  reading.lease_s = lease_s;
  reading.id.fill(id);
  put_text(reading.host_id, "host-1");
  put_text(reading.asked, "ops: leak");
  reading.block.everybody = 1;
  if (const auto prefix = Prefix::parse(place)) {
    reading.block.address = prefix->address.bytes;
    reading.block.length = prefix->length;
  } else {
    put_text(reading.block.domain, place);
  }
  return reading;
}

CommandReading of(CommandReading reading, std::uint32_t person) {
  reading.block.everybody = 0;
  reading.block.person = person;
  return reading;
}

class Blocks : public testing::Test {
 protected:
  CommandRefusal next(const CommandReading& command, Now at = kNow) {
    NextBlocks made = next_blocks(table, command, flat.policy, reach, at);
    words = made.words;
    if (made.why == CommandRefusal::none) table = made.table;
    EXPECT_TRUE(is_sound(table));
    return made.why;
  }
  CommandRefusal never(const char* place) { return next(block(place)); }
  Flat flat;
  MustReach reach{"Collector.Corp.example.", {*IpAddress::parse("203.0.113.77")}};
  BlockTable table;
  std::string words;
};

TEST_F(Blocks, never_what_the_host_must_reach_nor_a_prefix_that_holds_it) {
  struct Case {
    const char* place;
    const char* why;
  };
  for (const Case& one : {
           Case{"203.0.113.77", "203.0.113.77 is this host's collector"},
           Case{"203.0.113.0/24",
                "203.0.113.0/24 holds 203.0.113.77, which is this host's collector"},
           Case{"collector.corp.example", "collector.corp.example is this host's collector"},
           Case{"corp.example", "collector.corp.example is this host's collector"},
           Case{"10.1.0.53", "10.1.0.53 answers names here"},
           Case{"10.0.0.0/15", "10.0.0.0/15 holds 10.1.0.53, which answers names here"},
           Case{"2001:db8:53::/48",
                "2001:db8:53::/48 holds 2001:db8:53::53, which answers names here"},
           Case{"10.9.0.0/16", "10.9.0.0/16 its policy names under never_block"},
           Case{"10.9.7.7",
                "10.9.7.7 is within 10.9.0.0/16, which its policy names under never_block"},
           Case{"10.8.0.0/14",
                "10.8.0.0/14 holds 10.9.0.0/16, which its policy names under never_block"},
           Case{"198.51.100.9", "198.51.100.9 is the far end of a tunnel of its policy"},
           Case{"127.0.0.53", "127.0.0.53 is within 127.0.0.0/8, which is this host itself"},
           Case{"126.0.0.0/7", "126.0.0.0/7 holds 127.0.0.0/8, which is this host itself"},
           Case{"::1", "::1 is this host itself"},
           Case{"localhost", "localhost is this host itself"},
           Case{"255.255.255.255", "255.255.255.255 is DHCP"},
           Case{"ff02::/64", "ff02::/64 holds ff02::1:2, which is DHCP"},
       }) {
    EXPECT_EQ(never(one.place), CommandRefusal::never_blocked) << one.place;
    EXPECT_EQ(words, one.why);
    EXPECT_EQ(table.blocks, 0u) << "nothing of it is done";
  }
  for (const char* place : {"203.0.113.76", "10.1.0.54", "10.8.0.0/16", "2001:db8:54::/48",
                            "other.corp.example", "notcorp.example", "128.0.0.0/8"})
    EXPECT_EQ(never(place), CommandRefusal::none) << place << ": " << words;
}

TEST_F(Blocks, without_a_known_collector_and_where_it_is_named_by_its_address) {
  reach = {"", {}};
  EXPECT_EQ(never("collector.corp.example"), CommandRefusal::none);
  EXPECT_EQ(never("203.0.113.77"), CommandRefusal::none);
  reach = {"2001:db8::7", {}};
  EXPECT_EQ(never("2001:db8::/64"), CommandRefusal::never_blocked);
  EXPECT_EQ(words, "2001:db8::/64 holds 2001:db8::7, which is this host's collector");
}

TEST_F(Blocks, for_a_time_that_is_bounded) {
  EXPECT_EQ(next(block("192.0.2.7", 1, 7 * 86'400 + 1)), CommandRefusal::over_ceiling);
  EXPECT_EQ(next(block("192.0.2.7", 1, 0)), CommandRefusal::over_ceiling);
  EXPECT_EQ(next(block("192.0.2.7", 1, 7 * 86'400)), CommandRefusal::none);
  ASSERT_EQ(table.blocks, 1u);
  EXPECT_EQ(table.block[0].until_boot_ns, kNow.boot_ns + 7 * 86'400 * kSecondNs);
}

TEST_F(Blocks, each_has_a_slot_until_there_is_none_and_a_used_one_comes_last) {
  for (std::uint8_t n = 0; n < kMaxShuts; ++n)
    ASSERT_EQ(next(block(("192.0.2." + std::to_string(n)).c_str(), n + 1)), CommandRefusal::none);
  EXPECT_EQ(next(block("192.0.2.99", 99)), CommandRefusal::blocks_full);
  const std::uint32_t first = table.find(block("", 1).id)->slot,
                      third = table.find(block("", 3).id)->slot;
  table.remove(third);
  EXPECT_EQ(next(block("192.0.2.99", 99)), CommandRefusal::none);
  EXPECT_EQ(table.find(block("", 99).id)->slot, third);
  table.remove(third);
  table.remove(first);
  const std::uint32_t later = first < third ? first : third;
  EXPECT_EQ(next(block("192.0.2.98", 98)), CommandRefusal::none);
  EXPECT_EQ(table.find(block("", 98).id)->slot, later) << "not the one that was just left";
}

TEST_F(Blocks, a_second_of_the_same_place_and_person_takes_the_place_of_the_first) {
  ASSERT_EQ(next(block("192.0.2.7", 1, 60)), CommandRefusal::none);
  ASSERT_EQ(next(of(block("192.0.2.7", 2, 60), 1000)), CommandRefusal::none);
  ASSERT_EQ(next(of(block("192.0.2.7", 3, 60), 1001)), CommandRefusal::none);
  EXPECT_EQ(table.blocks, 3u);
  const std::uint32_t slot = table.block[0].slot;
  ASSERT_EQ(next(block("192.0.2.7", 4, 600)), CommandRefusal::none);
  EXPECT_EQ(table.blocks, 3u);
  EXPECT_EQ(table.find(block("", 1).id), nullptr);
  EXPECT_EQ(table.find(block("", 4).id)->slot, slot) << "without a moment between the two";
}

TEST_F(Blocks, to_the_kernel_are_slots_with_prefixes_persons_and_keys_of_names) {
  ASSERT_EQ(next(block("192.0.2.0/24", 1)), CommandRefusal::none);
  ASSERT_EQ(next(of(block("evil.example", 2), 1000)), CommandRefusal::none);
  ASSERT_EQ(next(block("files.evil.example", 3)), CommandRefusal::none);
  const std::vector<KernelShut> all = shuts_of(table);
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[0].prefix, *Prefix::parse("192.0.2.0/24"));
  EXPECT_FALSE(all[0].person);
  EXPECT_TRUE(all[0].names.empty());
  EXPECT_EQ(all[1].person, 1000u);
  EXPECT_EQ(all[1].names, (std::vector<std::uint64_t>{destination_key("evil.example"),
                                                      destination_key("files.evil.example")}))
      << "what is blocked within it goes there too";
  EXPECT_EQ(all[2].names, std::vector<std::uint64_t>{destination_key("files.evil.example")});
}

TEST_F(Blocks, a_clock_that_is_set_neither_ends_one_nor_lengthens_it) {
  ASSERT_EQ(next(block("192.0.2.7")), CommandRefusal::none);
  const std::uint64_t until = kNow.boot_ns + 3'600 * kSecondNs;
  for (const std::int64_t set : {std::int64_t{60}, -kTenYears, kTenYears}) {
    const Now at{kNow.wall_s + set, kNow.boot_ns + 60 * kSecondNs, kNow.boot};
    const BlockTable held = taken(table, at, nullptr);
    ASSERT_EQ(held.blocks, 1u);
    EXPECT_EQ(held.block[0].until_boot_ns, until);
    const std::vector<KernelShut> none;
    EXPECT_EQ(taken(table, at, &none).blocks, 1u) << "killed before the kernel had it";
  }
  EXPECT_EQ(taken(table, {kNow.wall_s, until, kNow.boot}, nullptr).blocks, 0u);
}

TEST_F(Blocks, go_on_over_a_reboot_for_what_is_left_of_each) {
  ASSERT_EQ(next(block("192.0.2.7", 1, 3'600)), CommandRefusal::none);
  ASSERT_EQ(next(block("192.0.2.8", 2, 60)), CommandRefusal::none);
  const std::uint64_t booted = 20 * kSecondNs;
  const auto first = [&](std::int64_t after_s) {
    return taken(table, {kNow.wall_s + after_s, booted, {2}}, nullptr);
  };
  ASSERT_EQ(first(600).blocks, 1u);
  EXPECT_EQ(first(600).block[0].until_boot_ns, booted + 3'000 * kSecondNs);
  EXPECT_EQ(first(kTenYears).blocks, 0u);
  ASSERT_EQ(first(-kTenYears).blocks, 2u);
  EXPECT_EQ(first(-kTenYears).block[0].until_boot_ns, booted + 3'600 * kSecondNs)
      << "one lease at most";
  // A guard that starts again in that boot: what the first has put there, whatever the clock says.
  const std::vector<KernelShut> there = shuts_of(first(600));
  for (const std::int64_t set : {std::int64_t{700}, -kTenYears, kTenYears}) {
    const BlockTable held =
        taken(table, {kNow.wall_s + set, booted + 100 * kSecondNs, {2}}, &there);
    ASSERT_EQ(held.blocks, 1u) << "the other has ended in that boot";
    EXPECT_EQ(held.block[0].until_boot_ns, booted + 3'000 * kSecondNs);
  }
}

TEST_F(Blocks, of_a_table_that_is_lost_are_those_of_the_kernel_that_have_an_address) {
  EXPECT_EQ(ExceptionTable::lost().blocks.lost, 1u);
  ASSERT_EQ(next(of(block("192.0.2.0/24", 1, 7 * 86'400), 1000)), CommandRefusal::none);
  ASSERT_EQ(next(block("evil.example", 2)), CommandRefusal::none);
  const BlockTable back = recovered(shuts_of(table), kNow);
  ASSERT_TRUE(is_sound(back));
  ASSERT_EQ(back.blocks, 1u);
  EXPECT_EQ(back.block[0].slot, table.block[0].slot);
  EXPECT_EQ(back.block[0].what.person, 1000u);
  EXPECT_EQ(back.block[0].until_boot_ns, table.block[0].until_boot_ns);
  EXPECT_EQ(text_of_place(back.block[0].what), "192.0.2.0/24");
  EXPECT_NE(back.block[0].id, wire::CommandId{}) << "it can be undone";
}

TEST_F(Blocks, end_by_their_id_alone_and_are_the_lines_as_what_grants_nothing) {
  ASSERT_EQ(next(block("evil.example", 1)), CommandRefusal::none);
  ASSERT_EQ(next(of(block("192.0.2.0/24", 2), 1000)), CommandRefusal::none);
  auto all = std::make_unique<ExceptionTable>(ExceptionTable::none());
  all->blocks = table;
  const std::vector<Exception> told = exceptions_of(*all);
  ASSERT_EQ(told.size(), 2u);
  EXPECT_EQ(told[0].bytes, 0u);
  EXPECT_EQ(told[0].domain, "evil.example");
  EXPECT_EQ(told[0].person, kNoPerson);
  EXPECT_EQ(told[1].person, 1000u);
  CommandReading undo;
  undo.verb = kUndoVerb;
  undo.lease.fill(9);
  EXPECT_EQ(next_exceptions(*all, undo, flat.policy, kNow).why, CommandRefusal::no_lease);
  undo.lease.fill(1);
  const NextTable ended = next_exceptions(*all, undo, flat.policy, kNow);
  ASSERT_TRUE(ended.table);
  ASSERT_EQ(ended.table->blocks.blocks, 1u);
  EXPECT_EQ(ended.table->blocks.block[0].what.person, 1000u);
}

TEST_F(Blocks, stand_in_the_file_and_one_that_is_not_whole_or_older_is_told_apart) {
  ASSERT_EQ(next(block("evil.example", 1)), CommandRefusal::none);
  auto all = std::make_unique<ExceptionTable>(ExceptionTable::none());
  all->blocks = table;
  const Result<ExceptionTable> read = ExceptionTable::read(all->bytes());
  ASSERT_TRUE(read);
  EXPECT_EQ(read->blocks.blocks, 1u);
  all->magic = kThirdExceptionMagic;
  const Result<ExceptionTable> older =
      ExceptionTable::read(all->bytes().first(offsetof(ExceptionTable, blocks)));
  ASSERT_TRUE(older) << "of a version that blocked nothing";
  EXPECT_EQ(older->blocks.blocks, 0u);
  all->magic = kExceptionMagic;
  const auto refused = [&](const std::function<void(BlockTable&)>& change) {
    auto bad = std::make_unique<ExceptionTable>(*all);
    change(bad->blocks);
    return !ExceptionTable::read(bad->bytes());
  };
  EXPECT_TRUE(refused([](BlockTable& t) { t.blocks = kMaxShuts + 1; }));
  EXPECT_TRUE(refused([](BlockTable& t) { t.block[0].slot = kMaxShuts; }));
  EXPECT_TRUE(refused([](BlockTable& t) { t.block[1] = t.block[0], t.blocks = 2; })) << "one slot";
  EXPECT_TRUE(refused([](BlockTable& t) { t.block[0].lease_s = kLongestShut_s + 1; }));
  EXPECT_TRUE(refused([](BlockTable& t) { t.block[0].what.domain.fill('a'); }));
  EXPECT_TRUE(refused([](BlockTable& t) { t.block[0].asked.fill('a'); }));
}

TEST_F(Blocks, places_of_their_names_are_kept_for_a_day_and_with_the_block) {
  ASSERT_EQ(next(block("evil.example", 1)), CommandRefusal::none);
  const std::uint64_t evil = destination_key("evil.example");
  BlockedPlaces places;
  const auto seen = [&](std::uint8_t last, std::int64_t at_s) {
    return places.add({evil, {1, last}, kNow.wall_s + at_s});
  };
  EXPECT_TRUE(seen(1, 0));
  EXPECT_FALSE(seen(1, kPlaceSeen_s - 1)) << "the disk has it";
  EXPECT_TRUE(seen(1, kPlaceSeen_s));
  EXPECT_TRUE(seen(2, 0));
  EXPECT_EQ(places.name_at({1, 1}), evil);
  EXPECT_EQ(places.name_at({1, 3}), 0u);
  auto all = std::make_unique<ExceptionTable>(ExceptionTable::none());
  all->blocks = table;
  all->places = places;
  const Result<ExceptionTable> read = ExceptionTable::read(all->bytes());
  ASSERT_TRUE(read);
  const std::vector<Exception> told = exceptions_of(*read);
  ASSERT_EQ(told.size(), 3u) << "the block, and where its name was seen";
  EXPECT_EQ(told[2].domain, "evil.example");
  EXPECT_EQ(told[2].prefix.address.bytes[1], 2);
  EXPECT_EQ(told[2].bytes, 0u);
  all->magic = kFourthExceptionMagic;
  EXPECT_TRUE(ExceptionTable::read(all->bytes().first(offsetof(ExceptionTable, places))))
      << "of a version that kept none";
  EXPECT_FALSE(places.keep_of(table, kNow.wall_s + kPlaceLasts_s - 1));
  EXPECT_TRUE(places.keep_of(table, kNow.wall_s + kPlaceLasts_s)) << "the one of before";
  EXPECT_EQ(places.count, 1u);
  for (std::uint8_t n = 0; n < BlockedPlaces::kMax + 3; ++n)
    seen(static_cast<std::uint8_t>(9 + n), 1);
  EXPECT_EQ(places.count, BlockedPlaces::kMax);
  EXPECT_EQ(places.name_at({1, 1}), 0u) << "the oldest gave way";
  EXPECT_TRUE(places.keep_of(BlockTable(), kNow.wall_s));
  EXPECT_EQ(places.count, 0u);
  all->magic = kExceptionMagic;
  all->places.count = BlockedPlaces::kMax + 1;
  EXPECT_FALSE(ExceptionTable::read(all->bytes()));
}

TEST_F(Blocks, places_count_a_day_whatever_the_clock_said_when_they_were_written) {
  ASSERT_EQ(next(block("evil.example", 1)), CommandRefusal::none);
  const std::uint64_t evil = destination_key("evil.example");
  const std::array<std::uint8_t, 16> where{1};
  BlockedPlaces places;
  places.add({evil, where, kNow.wall_s});
  const auto left = [&](std::int64_t after_s) {
    return places.left_s(where, table, kNow.wall_s + after_s);
  };
  EXPECT_EQ(left(0), 86'400u);
  EXPECT_EQ(left(86'399), 1u);
  EXPECT_EQ(left(86'400), 0u);
  EXPECT_EQ(left(kTenYears), 0u);
  EXPECT_EQ(left(-kTenYears), 86'400u);
  EXPECT_EQ(places.left_s({2}, table, kNow.wall_s), 0u);
  EXPECT_EQ(places.left_s(where, BlockTable(), kNow.wall_s), 0u) << "its block has ended";
  places.cap(kNow.wall_s - 100);
  EXPECT_EQ(left(-100), 86'400u);
  EXPECT_EQ(left(0), 86'300u);
  auto all = std::make_unique<ExceptionTable>(ExceptionTable::none());
  all->blocks = table;
  const auto reads = [&](std::uint64_t name, std::int64_t seen) {
    all->places = {};
    all->places.add({name, where, seen});
    return ExceptionTable::read(all->bytes()).has_value();
  };
  EXPECT_TRUE(reads(evil, kNow.wall_s));
  EXPECT_TRUE(reads(evil, kNow.wall_s + kTenYears));
  EXPECT_FALSE(reads(0, kNow.wall_s));
  EXPECT_FALSE(reads(evil, -1));
  EXPECT_FALSE(reads(evil, std::int64_t{1} << 40));
  EXPECT_FALSE(reads(evil, std::numeric_limits<std::int64_t>::max()));
}

// As an event log has them, so that a replay judges as the host did.
TEST_F(Blocks, and_places_come_back_whole_from_an_event_log) {
  auto all = std::make_unique<ExceptionTable>(ExceptionTable::none());
  for (std::uint8_t n = 0; n < kMaxShuts; ++n)
    ASSERT_EQ(next(block(("evil" + std::to_string(n) + ".example").c_str(), n + 1)),
              CommandRefusal::none);
  for (std::uint32_t n = 0; n < kMaxShutPlaces; ++n) {
    std::array<std::uint8_t, 16> where = IpAddress::v4(0xc0000200u + n).bytes;
    if (n % 2 != 0) where = {0x20, 1, static_cast<std::uint8_t>(n)};
    const std::string name = "evil" + std::to_string(n % kMaxShuts) + ".example";
    all->places.add({destination_key(name), where, kNow.wall_s});
  }
  all->blocks = table;
  const std::vector<Exception> told = exceptions_of(*all);
  ASSERT_EQ(told.size(), kMaxShuts + kMaxShutPlaces);
  v1::Event wire;
  to_proto({{1, 2}, ExceptionsChanged{std::make_shared<const std::vector<Exception>>(told)}}, wire);
  const Result<Event> read = from_proto(wire);
  ASSERT_TRUE(read) << read.error().sentence;
  const auto& back = *std::get<ExceptionsChanged>(read->body).exceptions;
  ASSERT_EQ(back.size(), told.size());
  for (std::size_t n = 0; n < told.size(); ++n) {
    EXPECT_EQ(back[n].number, told[n].number) << n;
    EXPECT_EQ(back[n].person, told[n].person) << n;
    EXPECT_EQ(back[n].domain, told[n].domain) << n;
    EXPECT_EQ(back[n].bytes, told[n].bytes) << n;
    EXPECT_EQ(back[n].until_boot_ns, told[n].until_boot_ns) << n;
    if (n >= kMaxShuts) EXPECT_EQ(back[n].prefix, told[n].prefix) << n;
  }
  auto& held = *wire.mutable_exceptions_changed();
  held.mutable_exceptions(kMaxShuts)->set_bytes(1);
  EXPECT_FALSE(from_proto(wire)) << "one that grants something has one destination";
  held.mutable_exceptions(kMaxShuts)->set_bytes(0);
  held.mutable_exceptions(kMaxShuts)->set_prefix("192.0.2.0/24");
  EXPECT_FALSE(from_proto(wire)) << "a name is seen at an address";
}

TEST_F(Blocks, a_reading_of_a_place_that_is_none_is_refused) {
  const auto reads = [](const std::function<void(BlockReading&)>& change, const char* place) {
    CommandReading reading = block(place);
    change(reading.block);
    return read_command_reading({reinterpret_cast<const std::uint8_t*>(&reading), sizeof reading})
        .has_value();
  };
  const auto nothing = [](BlockReading&) {};
  for (const char* place : {"evil.example", "192.0.2.7", "192.0.0.0/8", "2001:db8::/16", "fd00::1"})
    EXPECT_EQ(reads(nothing, place), std::string(place) != "2001:db8::/16") << place;
  EXPECT_FALSE(reads(nothing, "192.0.2.7/24")) << "more than its length says";
  EXPECT_FALSE(reads(nothing, "128.0.0.0/7"));
  EXPECT_FALSE(reads(nothing, "2000::/15"));
  EXPECT_FALSE(reads(nothing, "::fffe:0:0/95")) << "all of IPv4 is within it";
  EXPECT_FALSE(reads([](BlockReading& b) { b.length = 129; }, "192.0.2.7"));
  EXPECT_FALSE(reads([](BlockReading& b) { b.length = 128; }, "evil.example")) << "both";
  EXPECT_FALSE(reads([](BlockReading& b) { b.everybody = 2; }, "192.0.2.7"));
  EXPECT_FALSE(reads([](BlockReading& b) { b.person = 1; }, "192.0.2.7")) << "whose?";
  EXPECT_FALSE(reads([](BlockReading& b) { b.everybody = 0, b.person = 0xffffffff; }, "192.0.2.7"));
  EXPECT_FALSE(reads([](BlockReading& b) { b.domain.fill('a'); }, "192.0.2.7"));
}

}  // namespace
}  // namespace weir
