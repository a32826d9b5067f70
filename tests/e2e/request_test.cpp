// `weir request` as a person types it: what can't be asked for is told before anybody is asked.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdio>
#include <string>
#include <utility>

namespace weir {
namespace {

// Exit status, and what it says on standard error.
std::pair<int, std::string> request(const std::string& options) {
  const std::string line = std::string("LC_ALL=C timeout 60 ") + WEIR_PROGRAM +
                           " request r-1 --because why --socket /nonexistent/exec " + options +
                           " 2>&1 >/dev/null </dev/null";
  std::FILE* errors = ::popen(line.c_str(), "r");
  std::string text;
  char piece[4'096];
  while (std::fgets(piece, sizeof piece, errors) != nullptr) text += piece;
  return {WEXITSTATUS(::pclose(errors)), text};
}

TEST(Request, for_no_bytes_at_all_is_refused_and_not_taken_for_the_default) {
  for (const char* nothing : {"0", "0KiB", "0GiB"}) {
    const auto [status, text] = request(std::string("--bytes ") + nothing);
    EXPECT_EQ(status, 2) << nothing;
    EXPECT_EQ(text,
              "weir request: --bytes: at least 1 byte; without --bytes you ask for as much as the "
              "limit again\n");
  }
  EXPECT_EQ(request("--bytes 1").first, 5) << "asked: no agent answers there";
  EXPECT_EQ(request("").first, 5);
}

}  // namespace
}  // namespace weir
