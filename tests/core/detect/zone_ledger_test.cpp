// zone_ledger: bounded whatever is asked for, windows that end, and a memory for what gave way.
#include "core/detect/zone_ledger.h"

#include <gtest/gtest.h>

#include "tests/core/detect/dns_desk.h"

namespace weir {
namespace {

using Name = std::vector<std::string_view>;

constexpr std::int64_t kStart = 20'000 * 24 * kHour;

std::uint64_t told(Zone& zone, std::int64_t now) {
  return zone.day.sum(now) / kOneBit / 8;
}

TEST(zone_ledger, a_million_zones_take_no_more_than_the_table) {
  ZoneLedger ledger(CharModel::built_in());
  constexpr std::uint64_t kAll = 1'000'000;
  for (std::uint64_t key = 1; key <= kAll; ++key) {
    Zone& zone = ledger.row(key * 0x9e3779b97f4a7c15, "zone", kStart);
    if (key % 16 == 0) ledger.charge(zone, Name{"abcdef"}, 0, 1, kStart);
  }
  EXPECT_EQ(ledger.rows(), ZoneLedger::kZones);
  EXPECT_EQ(ledger.evicted(), kAll - ZoneLedger::kZones);
}

TEST(zone_ledger, a_flood_of_zones_does_not_wash_an_account_out) {
  ZoneLedger ledger(CharModel::built_in());
  Encoder bytes(4);
  std::uint64_t key = 1000;
  for (int round = 1; round <= 2; ++round) {
    // Some ninety bytes, then enough zones that were told more to push that row out.
    for (int i = 0; i < 3; ++i)
      ledger.charge(ledger.row(7, "z", kStart), Name{bytes.hex(60)}, 0, 1, kStart);
    for (std::size_t i = 0; i < ZoneLedger::kZones + 400; ++i, ++key)
      for (int k = 0; k < 8; ++k)
        ledger.charge(ledger.row(key * 0x9e3779b97f4a7c15, "z", kStart), Name{bytes.hex(60)}, 0, 1,
                      kStart);
    EXPECT_EQ(ledger.find(7), nullptr);
    EXPECT_GE(told(ledger.row(7, "z", kStart), kStart), 90u * static_cast<unsigned>(round));
  }
}

TEST(zone_ledger, a_name_is_charged_once_a_day) {
  ZoneLedger ledger(CharModel::built_in());
  Encoder bytes(1);
  const std::string label = bytes.hex(40);
  const Name name{label};
  ledger.charge(ledger.row(7, "z", kStart), name, 0, 1, kStart);
  const std::uint64_t once = told(ledger.row(7, "z", kStart), kStart);
  EXPECT_GE(once, 20u);
  ledger.charge(ledger.row(7, "z", kStart), name, 0, 1, kStart + kHour);
  EXPECT_EQ(told(ledger.row(7, "z", kStart), kStart + kHour), once);
  const std::int64_t later = kStart + 30 * kHour;
  EXPECT_EQ(told(ledger.row(7, "z", later), later), 0u);
  ledger.charge(ledger.row(7, "z", later), name, 0, 1, later);
  EXPECT_GT(told(ledger.row(7, "z", later), later), 0u);
}

TEST(zone_ledger, a_zones_own_labels_grow_cheap) {
  ZoneLedger ledger(CharModel::built_in());
  Encoder bytes(2);
  const std::string suffix = bytes.hex(30);
  std::vector<std::uint64_t> cost;
  for (int i = 0; i < 3; ++i) {
    const std::uint64_t before = told(ledger.row(7, "z", kStart), kStart);
    ledger.charge(ledger.row(7, "z", kStart), Name{bytes.hex(20), suffix}, 0, 1, kStart);
    cost.push_back(told(ledger.row(7, "z", kStart), kStart) - before);
  }
  EXPECT_GE(cost[0], 25u);
  EXPECT_LE(cost[1], 14u);  // the first label, and an index for the second
  EXPECT_GE(cost[1], 10u);
}

TEST(zone_ledger, an_address_costs_its_bits) {
  ZoneLedger ledger(CharModel::built_in());
  ledger.charge(ledger.row(7, "z", kStart), Name{"211", "99", "130", "201", "bl"}, 4, 1, kStart);
  const std::uint64_t first = told(ledger.row(7, "z", kStart), kStart);
  ledger.charge(ledger.row(7, "z", kStart), Name{"17", "199", "30", "101", "bl"}, 4, 1, kStart);
  EXPECT_LE(told(ledger.row(7, "z", kStart), kStart) - first, 6u);
}

TEST(zone_ledger, time_that_runs_backwards_counts_as_now) {
  ZoneLedger ledger(CharModel::built_in());
  Encoder bytes(3);
  ledger.charge(ledger.row(7, "z", kStart), Name{bytes.hex(40)}, 0, 1, kStart);
  ledger.charge(ledger.row(7, "z", kStart), Name{bytes.hex(40)}, 0, 1, kStart - 48 * kHour);
  EXPECT_GE(told(ledger.row(7, "z", kStart), kStart), 40u);
}

TEST(name_set, remembers_a_day_and_forgets_the_oldest_of_a_full_set) {
  NameSet names;
  EXPECT_TRUE(names.add(42, kStart));
  EXPECT_FALSE(names.add(42, kStart + 23 * kHour));
  EXPECT_TRUE(names.add(42, kStart + 50 * kHour));
  for (std::uint64_t i = 0; i < 600'000; ++i)
    names.add(i * 0x9e3779b97f4a7c15, kStart + 50 * kHour);
  EXPECT_GT(names.pushed_out(), 300'000u);
}

}  // namespace
}  // namespace weir
