// Lines of text into a descriptor that may be slow: see line_file.h.
#include "agent/engine/line_file.h"

#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <limits>

namespace weir {
namespace {

// A pipe that is ready for writing takes this much without waiting (PIPE_BUF), so the descriptor,
// which others share, need not be made non-blocking.
constexpr std::size_t kAtOnce = 4096;

}  // namespace

LineFile::LineFile(int fd, std::uint64_t most)
    : fd_(fd), room_(most == 0 ? std::numeric_limits<std::uint64_t>::max() : most) {
  struct stat info {};
  if (most > 0 && ::fstat(fd, &info) == 0)
    room_ -= std::min(room_, static_cast<std::uint64_t>(std::max<off_t>(info.st_size, 0)));
}

void LineFile::add(std::string_view line) {
  if (line.size() + 1 > room_ || waiting_.size() + line.size() + 1 > kMaxWaiting) {
    ++dropped_;
    return;
  }
  room_ -= line.size() + 1;
  waiting_.append(line);
  waiting_ += '\n';
}

bool LineFile::flush_once(int timeout_ms) {
  pollfd ready{fd_, POLLOUT, 0};
  if (waiting_.empty() || ::poll(&ready, 1, timeout_ms) <= 0) return false;
  ssize_t written = ::write(fd_, waiting_.data(), std::min(waiting_.size(), kAtOnce));
  if (written <= 0) return false;
  waiting_.erase(0, static_cast<std::size_t>(written));
  return true;
}

void LineFile::flush() {
  while (flush_once(0)) {
  }
}

void LineFile::drain(int timeout_ms) {
  while (flush_once(timeout_ms)) {
  }
}

}  // namespace weir
