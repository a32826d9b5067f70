// The boot's id, as /proc has it: see boot_id.h.
#include "platform/linux/boot_id.h"

#include <charconv>
#include <cstddef>
#include <string>
#include <string_view>

#include "platform/files/small_file.h"

namespace weir {
namespace {

constexpr std::size_t kTextBytes = 64;  // 36 characters and a line end

}  // namespace

BootId boot_id() {
  const auto text = read_small_file(kWorkingFolder, "/proc/sys/kernel/random/boot_id", kTextBytes);
  std::string digits;
  if (text && *text)
    for (const char one : **text)
      if (one != '-' && one != '\n') digits += one;
  BootId id{};
  if (digits.size() != 2 * id.size()) return id;
  for (std::size_t n = 0; n < id.size(); ++n) {
    const std::string_view two = std::string_view(digits).substr(2 * n, 2);
    if (std::from_chars(two.data(), two.data() + 2, id[n], 16).ptr != two.data() + 2) return {};
  }
  return id;
}

}  // namespace weir
