// /proc/net/dev: two lines of titles, then a line for each device: its name, a colon, eight numbers
// about what came and eight about what left, bytes first.
#include "platform/linux/device_bytes.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
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

// Calls each(name, numbers) for every line of a device.
template <class Each>
void for_each_device(std::string_view table, Each&& each) {
  while (!table.empty()) {
    const std::size_t end = table.find('\n');
    const std::string_view line = table.substr(0, end);
    table.remove_prefix(end == std::string_view::npos ? table.size() : end + 1);
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos) continue;  // a title
    std::string_view name = line.substr(0, colon);
    name.remove_prefix(std::min(name.find_first_not_of(' '), name.size()));
    each(name, line.substr(colon + 1));
  }
}

}  // namespace

std::uint64_t bytes_sent_in(std::string_view table) {
  std::uint64_t sum = 0;
  for_each_device(table, [&](std::string_view name, std::string_view numbers) {
    if (name != "lo") sum += sent_by(numbers);
  });
  return sum;
}

std::optional<std::uint64_t> bytes_sent_in(std::string_view table, std::string_view device) {
  std::optional<std::uint64_t> sent;
  for_each_device(table, [&](std::string_view name, std::string_view numbers) {
    if (name == device) sent = sent_by(numbers);
  });
  return sent;
}

std::string device_table() {
  const Fd file(open("/proc/thread-self/net/dev", O_RDONLY | O_CLOEXEC));
  if (!file) return "";
  std::string text(kMostText, '\0');
  std::size_t size = 0;
  for (ssize_t got = 1; got > 0 && size < text.size();) {
    got = read(file.get(), text.data() + size, text.size() - size);
    if (got > 0) size += static_cast<std::size_t>(got);
  }
  text.resize(size);
  return text;
}

std::uint64_t bytes_sent_by_devices() {
  return bytes_sent_in(device_table());
}

}  // namespace weir
