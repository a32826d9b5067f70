// /proc/net/dev: two lines of titles, then a line for each device: its name, a colon, eight numbers
// about what came and eight about what left, bytes first.
#include "platform/linux/device_bytes.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "platform/files/fd.h"

namespace weir {
namespace {

constexpr std::size_t kMostText = 64 * 1024;  // some 500 devices; those after them are not counted
constexpr int kReceived = 8;                  // numbers before that of the bytes sent

std::uint64_t sent_by(std::string_view numbers) {
  std::uint64_t value = 0;
  for (int n = 0; n <= kReceived; ++n) {
    const std::size_t at = numbers.find_first_not_of(' ');
    if (at == std::string_view::npos) return 0;
    numbers.remove_prefix(at);
    const auto [end, error] =
        std::from_chars(numbers.data(), numbers.data() + numbers.size(), value);
    if (error != std::errc()) return 0;
    numbers.remove_prefix(static_cast<std::size_t>(end - numbers.data()));
  }
  return value;
}

}  // namespace

std::uint64_t bytes_sent_in(std::string_view table) {
  std::uint64_t sum = 0;
  while (!table.empty()) {
    const std::size_t end = table.find('\n');
    const std::string_view line = table.substr(0, end);
    table.remove_prefix(end == std::string_view::npos ? table.size() : end + 1);
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos) continue;  // a title
    std::string_view name = line.substr(0, colon);
    name.remove_prefix(std::min(name.find_first_not_of(' '), name.size()));
    if (name != "lo") sum += sent_by(line.substr(colon + 1));
  }
  return sum;
}

std::uint64_t bytes_sent_by_devices() {
  const Fd file(open("/proc/thread-self/net/dev", O_RDONLY | O_CLOEXEC));
  if (!file) return 0;
  static thread_local std::array<char, kMostText> text;
  std::size_t size = 0;
  for (ssize_t got = 1; got > 0 && size < text.size();) {
    got = read(file.get(), text.data() + size, text.size() - size);
    if (got > 0) size += static_cast<std::size_t>(got);
  }
  return bytes_sent_in({text.data(), size});
}

}  // namespace weir
