// A batch's row gives back what went into it, and one that is cut short or changed gives nothing
// that is not in it.
#include "collector/store/packed_records.h"

#include <gtest/gtest.h>

namespace weir {
namespace {

const std::string kHash(32, 'h'), kBody(70'000, 'b'), kKey = "key", kNonce = "nonce";

std::string two_records() {
  std::string bytes;
  const PackedRecord first{3, bytes_of(kHash), bytes_of(kBody), bytes_of(kKey), bytes_of(kNonce)};
  const PackedRecord second{0, bytes_of(kHash), {}, {}, {}};
  pack(bytes, first);
  EXPECT_EQ(bytes.size(), packed_size(first));
  pack(bytes, second);
  EXPECT_EQ(bytes.size(), packed_size(first) + packed_size(second));
  return bytes;
}

TEST(PackedRecords, records_come_out_as_they_went_in) {
  const std::string bytes = two_records();
  Bytes rest = bytes_of(bytes);
  std::optional<PackedRecord> first = unpack(rest);
  ASSERT_TRUE(first);
  EXPECT_EQ(first->flags, 3);
  EXPECT_EQ(text_of(first->previous_hash), kHash);
  EXPECT_EQ(text_of(first->ciphertext), kBody);
  EXPECT_EQ(text_of(first->key_id), kKey);
  EXPECT_EQ(text_of(first->nonce), kNonce);
  std::optional<PackedRecord> second = unpack(rest);
  ASSERT_TRUE(second);
  EXPECT_TRUE(second->ciphertext.empty());
  EXPECT_TRUE(rest.empty());
  EXPECT_FALSE(unpack(rest));
}

TEST(PackedRecords, the_place_is_that_of_the_ciphertext) {
  std::string bytes = "before";
  const std::size_t at =
      pack(bytes, {0, bytes_of(kHash), bytes_of("body"), bytes_of(kKey), bytes_of(kNonce)});
  EXPECT_EQ(bytes.substr(at, 4), "body");
  EXPECT_EQ(static_cast<std::uint8_t>(bytes[6 + kPackedFlagsAt]), 0);
}

TEST(PackedRecords, one_that_is_cut_short_anywhere_is_none) {
  std::string bytes;
  pack(bytes, {1, bytes_of(kHash), bytes_of("body"), bytes_of(kKey), bytes_of(kNonce)});
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    const std::string cut = bytes.substr(0, size);
    Bytes rest = bytes_of(cut);
    EXPECT_FALSE(unpack(rest)) << size;
    EXPECT_EQ(rest.size(), size) << "nothing is taken";
  }
}

TEST(PackedRecords, sizes_beyond_the_row_are_none) {
  std::string bytes;
  pack(bytes, {0, bytes_of(kHash), bytes_of("body"), {}, {}});
  for (std::size_t at = 0; at < 8; ++at) {
    std::string wrong = bytes;
    wrong[at] = '\xff';
    Bytes rest = bytes_of(wrong);
    EXPECT_FALSE(unpack(rest)) << at;
  }
}

}  // namespace
}  // namespace weir
