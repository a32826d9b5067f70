// Which accounts the disk lists, with how much, and how far each may get by that.
#include "agent/guard/kept_accounts.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>

namespace weir {
namespace {

constexpr std::uint64_t kSecond = 1'000'000'000;
constexpr std::uint64_t kNow = 5'000 * kSecond;
constexpr std::uint64_t kNone = ~std::uint64_t{0};

weir_limit total(std::uint64_t bytes, std::uint32_t per = WEIR_PER_PERSON) {
  weir_limit row{};
  row.bytes = bytes;
  row.per = per;
  row.name = 77;
  row.account = 100;
  return row;
}

weir_limit window(std::uint64_t burst, std::uint64_t q4) {
  weir_limit row = total(burst);
  row.ns_per_byte_q4 = q4;
  return row;
}

KernelAccount account(std::uint64_t word, std::uint64_t kept = 0, std::uint64_t asked_ns = 0) {
  KernelAccount one;
  one.key = {100, WEIR_PER_PERSON, 1000, 0};
  one.value.word = word;
  one.value.kept = kept;
  one.value.asked_ns = asked_ns;
  return one;
}

AccountKeeping::Plan plan(weir_limit row, const KernelAccount& one, AccountKeeping& keeping,
                          std::uint64_t now = kNow) {
  mark_kept_rows({&row, 1});
  return keeping.plan({&row, 1}, {&one, 1}, now);
}

TEST(kept_accounts, a_file_comes_back_as_it_was_and_a_damaged_one_does_not) {
  const std::array<KeptAccount, 2> accounts{
      {{1, WEIR_PER_PERSON, 0, 1000, 0, 4096}, {2, WEIR_PER_HOST, 0, 0, 0, 7}}};
  std::vector<std::uint8_t> file = write_kept_accounts(accounts);
  auto read = read_kept_accounts(file);
  ASSERT_TRUE(read);
  ASSERT_EQ(read->size(), 2u);
  EXPECT_EQ((*read)[0].who, 1000u);
  EXPECT_EQ((*read)[1].bytes, 7u);
  EXPECT_TRUE(read_kept_accounts(write_kept_accounts({})));
  for (std::size_t n = 0; n < file.size(); n++) {
    if (n >= 24 && n < 32) continue;  // padding
    std::vector<std::uint8_t> damaged = file;
    damaged[n] ^= 1;
    EXPECT_FALSE(read_kept_accounts(damaged)) << n;
    EXPECT_FALSE(read_kept_accounts({file.data(), n})) << n;
  }
}

TEST(kept_accounts, rows_of_trees_and_rows_that_only_observe_are_not_kept) {
  weir_limit observes = total(1);
  observes.flags = WEIR_LIMIT_OBSERVE;
  weir_limit nameless = total(1);
  nameless.name = 0;
  std::array<weir_limit, 7> rows{total(1),
                                 total(1, WEIR_PER_HOST),
                                 total(1, WEIR_PER_PERSON_DEST),
                                 total(1, WEIR_PER_TREE),
                                 total(1, WEIR_PER_TREE_DEST),
                                 observes,
                                 nameless};
  mark_kept_rows(rows);
  for (std::size_t n = 0; n < rows.size(); n++)
    EXPECT_EQ((rows[n].flags & WEIR_LIMIT_KEPT) != 0, n < 3) << n;
}

TEST(kept_accounts, who_asks_gets_a_sixteenth_more_once_it_is_written) {
  AccountKeeping keeping;
  auto next = plan(total(16 << 20), account(100'000, WEIR_UNLISTED_OF_TOTAL, kNow), keeping);
  EXPECT_TRUE(next.now.empty());
  ASSERT_EQ(next.written.size(), 1u);
  EXPECT_EQ(next.written[0].kept, 100'000u + (1 << 20));
  EXPECT_EQ(next.written[0].mark, 100'000u + (1 << 19)) << "asks again half way through";
  ASSERT_EQ(next.listed.size(), 1u);
  EXPECT_EQ(next.listed[0].bytes, next.written[0].kept);
  EXPECT_EQ(next.listed[0].row_name, 77u);
  EXPECT_EQ(next.listed[0].who, 1000u);
  // It has not asked since: it has what it has.
  next = plan(total(16 << 20), account(100'000, 100'000 + (1 << 20), kNow), keeping, kNow + 1);
  EXPECT_TRUE(next.written.empty());
  EXPECT_EQ(next.listed[0].bytes, 100'000u + (1 << 20));
}

TEST(kept_accounts, a_small_number_goes_by_the_largest_packet_and_never_beyond_itself) {
  AccountKeeping keeping;
  auto next = plan(total(300'000), account(0, WEIR_UNLISTED_OF_TOTAL, kNow), keeping);
  EXPECT_EQ(next.written.at(0).kept, 65'536u);
  next = plan(total(300'000), account(290'000, 290'000, kNow + 1), keeping);
  EXPECT_EQ(next.written.at(0).kept, 300'000u);
  EXPECT_EQ(next.written.at(0).mark, kNone) << "there is no more to ask for";
}

TEST(kept_accounts, a_total_of_which_a_name_was_asked_for_needs_no_list) {
  AccountKeeping keeping;
  EXPECT_EQ(unlisted_of(total(300'000), WEIR_PER_PERSON), 4096u);
  EXPECT_EQ(unlisted_of(total(8'000), WEIR_PER_PERSON), 1'000u) << "an eighth of a small one";
  EXPECT_EQ(unlisted_of(total(300'000), WEIR_PER_PERSON | WEIR_PER_OVERFLOW), 0u);
  auto next = plan(total(300'000), account(68, WEIR_UNLISTED_OF_TOTAL), keeping);
  EXPECT_TRUE(next.listed.empty());
  EXPECT_TRUE(next.written.empty());
}

TEST(kept_accounts, one_that_is_being_made_is_left_alone_for_one_look) {
  AccountKeeping keeping;
  auto next = plan(total(300'000), account(0, 0, kNow), keeping);
  EXPECT_TRUE(next.written.empty());
  next = plan(total(300'000), account(0, 0, kNow), keeping, kNow + 1);
  ASSERT_EQ(next.written.size(), 1u) << "an adopted one: nobody makes it, and it asks";
  EXPECT_EQ(next.written[0].kept, 65'536u);
}

TEST(kept_accounts, what_is_taken_back_is_listed_until_the_next_look) {
  AccountKeeping keeping;
  (void)plan(total(300'000), account(100'000, 150'000), keeping);
  auto next =
      plan(total(300'000), account(100'000, 150'000), keeping, kNow + AccountKeeping::kIdleNs);
  ASSERT_EQ(next.now.size(), 1u);
  EXPECT_EQ(next.now[0].kept, 100'000u);
  EXPECT_EQ(next.listed[0].bytes, 150'000u);
  next =
      plan(total(300'000), account(100'000, 100'000), keeping, kNow + AccountKeeping::kIdleNs + 1);
  EXPECT_TRUE(next.now.empty());
  EXPECT_EQ(next.listed[0].bytes, 100'000u);
}

TEST(kept_accounts, a_window_is_written_in_bytes_and_rounded_up) {
  AccountKeeping keeping;
  const weir_limit row = window(1 << 20, 1000);
  auto next = plan(row, account(kNow * 16 + 500'000'001, 500'000'500), keeping);
  EXPECT_EQ(next.listed.at(0).bytes, 500'001u);
}

TEST(kept_accounts, a_window_that_has_refilled_gives_back_to_what_needs_no_list) {
  AccountKeeping keeping;
  const weir_limit row = window(1 << 20, 1000);
  const std::uint64_t eighth = (std::uint64_t{1} << 20) * 1000 / 8;
  (void)plan(row, account(0, 3 * eighth), keeping);
  auto next = plan(row, account(0, 3 * eighth), keeping, kNow + AccountKeeping::kIdleNs);
  ASSERT_EQ(next.now.size(), 1u);
  EXPECT_EQ(next.now[0].kept, eighth);
  EXPECT_EQ(next.now[0].mark, eighth / 2);
  next = plan(row, account(0, eighth), keeping, kNow + AccountKeeping::kIdleNs + 1);
  EXPECT_TRUE(next.listed.empty());
}

TEST(kept_accounts, the_account_of_those_without_room_is_always_listed) {
  AccountKeeping keeping;
  const weir_limit row = window(1 << 20, 1000);
  KernelAccount shared = account(kNow * 16 + 1'000'000, 1'000'000);
  shared.key.per |= WEIR_PER_OVERFLOW;
  auto next = plan(row, shared, keeping);
  ASSERT_EQ(next.listed.size(), 1u);
  EXPECT_EQ(next.listed[0].bytes, 1000u);
}

TEST(kept_accounts, the_disk_never_says_less_than_the_kernel_lets_pass) {
  // An account in all its states, and looks at any time between.
  AccountKeeping keeping;
  const weir_limit row = window(1 << 20, 64);
  std::uint64_t word = 0, kept = (std::uint64_t{1} << 20) * 64 / 8, asked = 0, now = kNow;
  std::uint64_t disk = 0, chance = 7;
  for (int n = 0; n < 20'000; n++) {
    chance = chance * 6364136223846793005u + 1442695040888963407u;
    now += chance >> 40;
    for (std::uint64_t packet = 0; packet < (chance >> 8 & 63); packet++) {
      const std::uint64_t start = std::max(word, now * 16);
      const std::uint64_t after = start + (chance >> 16 & 0xffff) * 64;
      if (after - now * 16 > kept)
        asked = now;
      else
        word = after;
    }
    auto next = plan(row, account(word, kept, asked), keeping, now);
    for (const weir_keep& one : next.now) kept = one.kept;
    disk = next.listed.empty() ? (1 << 20) / 8 : next.listed[0].bytes;
    if ((chance & 3) != 0)  // else the answer never comes
      for (const weir_keep& one : next.written) kept = one.kept;
    ASSERT_GE(disk * 64, kept) << n;
    ASSERT_GE(disk * 64, word > now * 16 ? word - now * 16 : 0) << n;
  }
}

}  // namespace
}  // namespace weir
