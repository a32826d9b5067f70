// Sentences of the uplink: see say.h.
#include "agent/uplink/say.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

namespace weir {

std::string for_the_log(std::string_view text) {
  constexpr std::size_t kMost = 256;
  std::string out(text.substr(0, kMost));
  std::replace_if(
      out.begin(), out.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return out;
}

void say(std::string_view sentence) {
  std::string line = fmt::format("weir-uplink: {}\n", sentence);
  (void)!::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace weir
