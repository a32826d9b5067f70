// Leases of addresses: when they end, and which goes when there is no room for another.
#include "agent/guard/leases.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

namespace weir {
namespace {

Prefix place(std::size_t n) {
  Prefix one;
  one.address.bytes[14] = static_cast<std::uint8_t>(n >> 8);
  one.address.bytes[15] = static_cast<std::uint8_t>(n);
  return one;
}

class Leases : public testing::Test {
 protected:
  std::optional<Prefix> put(std::size_t n, std::uint64_t until, bool shuts) {
    std::optional<Prefix> replaced;
    leases->put(place(n), until, shuts, replaced);
    return replaced;
  }
  std::unique_ptr<AddressLeases> leases = std::make_unique<AddressLeases>();
};

TEST_F(Leases, end_at_their_time_and_once_and_a_second_of_the_same_counts_instead) {
  put(1, 100, false);
  put(2, 200, true);
  put(1, 300, false);
  EXPECT_EQ(leases->size(), 2u);
  EXPECT_FALSE(leases->take_ended(199));
  EXPECT_EQ(leases->take_ended(200), place(2));
  EXPECT_FALSE(leases->take_ended(299));
  EXPECT_EQ(leases->take_ended(300), place(1));
  EXPECT_FALSE(leases->take_ended(9'999));
}

TEST_F(Leases, one_that_ends_is_put_again_for_a_while_and_ends_again) {
  put(1, 100, true);
  ASSERT_EQ(leases->take_ended(100), place(1));
  put(1, 200, true);
  EXPECT_FALSE(leases->take_ended(100));
  EXPECT_EQ(leases->take_ended(200), place(1));
}

TEST_F(Leases, full_the_first_to_end_goes_but_not_one_that_shuts_something) {
  for (std::size_t n = 0; n < AddressLeases::kMax; ++n) EXPECT_FALSE(put(n, 1'000 + n, n < 3));
  EXPECT_EQ(put(20'000, 5'000, false), place(3)) << "the first three are a blocked name's";
  put(4, 1'004, true);  // its name was blocked since
  EXPECT_EQ(put(20'001, 5'000, false), place(5));
  put(0, 1'000, false);  // and its is not any more
  EXPECT_EQ(put(20'002, 5'000, true), place(0));
}

TEST_F(Leases, full_of_what_shuts_something_the_first_of_those_goes) {
  for (std::size_t n = 0; n < AddressLeases::kMax; ++n) put(n, 9'000 - n, true);
  EXPECT_EQ(put(20'000, 10'000, true), place(AddressLeases::kMax - 1));
}

}  // namespace
}  // namespace weir
