// Connect's framing: pieces in, whole messages out, whatever the pieces.
#include "proto/connect/envelope.h"

#include <gtest/gtest.h>

namespace weir {
namespace {

TEST(envelope, comes_out_whole_however_it_is_cut) {
  std::string sent = envelope(0, "one") + envelope(0, "") + envelope(kConnectEndOfStream, "{}");
  for (std::size_t piece = 1; piece <= sent.size(); ++piece) {
    Envelopes in;
    std::vector<std::string> out;
    for (std::size_t at = 0; at < sent.size(); at += piece) {
      in.add(std::string_view(sent).substr(at, piece));
      while (auto whole = in.take()) out.push_back(whole->message);
    }
    EXPECT_EQ(out, (std::vector<std::string>{"one", "", "{}"})) << piece;
    EXPECT_TRUE(in.empty());
  }
}

TEST(envelope, of_more_than_4_MiB_ends_the_conversation) {
  Envelopes in;
  in.add(std::string("\0\0\x40\0\1", 5));
  EXPECT_FALSE(in.take());
  EXPECT_TRUE(in.too_large());
  in.add(std::string(100, 'x'));
  EXPECT_FALSE(in.take());
}

TEST(envelope, of_exactly_4_MiB_passes) {
  Envelopes in;
  in.add(envelope(0, std::string(kMaxConnectMessage, 'x')));
  EXPECT_TRUE(in.take());
}

}  // namespace
}  // namespace weir
