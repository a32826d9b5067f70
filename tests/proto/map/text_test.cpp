// Foreign bytes as text for people.
#include "proto/map/text.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace weir {
namespace {

TEST(text, printing_text_stays_as_it_is) {
  for (const char* text : {"", "curl", "naïve", "客户名单.csv", "😀", "a\\b", "\"<&>"}) {
    EXPECT_EQ(shown(text), text);
  }
}

TEST(text, what_would_change_a_terminal_or_a_line_is_escaped) {
  EXPECT_EQ(shown("\x1b[31m"), "\\x1b[31m");
  EXPECT_EQ(shown("a\r\nb"), "a\\x0d\\x0ab");
  EXPECT_EQ(shown("a\u202eb"), "a\\xe2\\x80\\xaeb");
  EXPECT_EQ(shown(std::string_view("a\0b", 3)), "a\\x00b");
}

TEST(text, bytes_that_are_no_utf8_are_escaped_one_by_one) {
  EXPECT_EQ(shown("\xff\xfe"), "\\xff\\xfe");
  EXPECT_EQ(shown("\xc0\x80"), "\\xc0\\x80");                    // overlong
  EXPECT_EQ(shown("\xed\xa0\x80"), "\\xed\\xa0\\x80");           // a surrogate
  EXPECT_EQ(shown("\xe5\xae"), "\\xe5\\xae");                    // cut
  EXPECT_EQ(shown("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");  // beyond U+10FFFF
}

RC_GTEST_PROP(text, any_bytes_become_utf8_and_stay_so_when_shown_again, (std::string bytes)) {
  std::string once = shown(bytes);
  RC_ASSERT(is_utf8(once));
  RC_ASSERT(shown(once) == once);
}

}  // namespace
}  // namespace weir
