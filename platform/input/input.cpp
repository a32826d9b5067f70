// Files that the caller names: see input.h.
#include "platform/input/input.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>
#include <vector>

namespace weir {
namespace {

constexpr std::size_t kPiece = 65536;  // a pipe's buffer

bool write_all(int fd, const char* data, std::size_t size) {
  while (size > 0) {
    ssize_t put = ::write(fd, data, size);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return false;
    data += put;
    size -= static_cast<std::size_t>(put);
  }
  return true;
}

int unnamed_file() {
  std::error_code error;
  std::string folder = std::filesystem::temp_directory_path(error).string();
  return ::open(error ? "/tmp" : folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
}

// `from` does not wait by itself: the first read tells whether somebody has it open for writing.
Result<void> copy(int from, int to, const std::string& name, std::uint64_t most) {
  std::vector<char> piece(kPiece);
  std::uint64_t copied = 0;
  for (;;) {
    ssize_t got = ::read(from, piece.data(), piece.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) {
      pollfd ready{from, POLLIN, 0};
      (void)::poll(&ready, 1, -1);  // ends at the latest when its last writer goes
      continue;
    }
    if (got < 0) return fail(fmt::format("{}: can't be read: {}", name, std::strerror(errno)));
    if (got == 0 && copied == 0)
      return fail(fmt::format("{}: is a pipe that nobody writes to", name));
    if (got == 0) return {};
    copied += static_cast<std::uint64_t>(got);
    if (copied > most)
      return fail(fmt::format("{}: more than {} bytes from a pipe; give a file", name, most));
    if (!write_all(to, piece.data(), static_cast<std::size_t>(got)))
      return fail(
          fmt::format("{}: no room for what comes from a pipe: {}", name, std::strerror(errno)));
  }
}

}  // namespace

Result<InputFile> InputFile::open(const std::string& name, std::uint64_t most) {
  InputFile file(::open(name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), name);
  struct stat info {};
  if (file.fd_ < 0 || ::fstat(file.fd_, &info) != 0)
    return fail(fmt::format("{}: can't be read: {}", name, std::strerror(errno)));
  if (S_ISREG(info.st_mode)) return file;
  if (S_ISDIR(info.st_mode)) return fail(fmt::format("{}: is a directory, not a file", name));
  if (!S_ISFIFO(info.st_mode)) return fail(fmt::format("{}: is neither a file nor a pipe", name));
  int content = unnamed_file();
  if (content < 0)
    return fail(
        fmt::format("{}: no room for what comes from a pipe: {}", name, std::strerror(errno)));
  InputFile spooled(content, fmt::format("/proc/self/fd/{}", content));
  if (auto copied = copy(file.fd_, content, name, most); !copied)
    return tl::unexpected(copied.error());
  (void)::lseek(content, 0, SEEK_SET);
  return spooled;
}

InputFile::InputFile(InputFile&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), path_(std::move(other.path_)) {}

InputFile::~InputFile() {
  if (fd_ >= 0) ::close(fd_);
}

Result<std::string> read_input(const std::string& name, std::size_t most) {
  Result<InputFile> file = InputFile::open(name, most);
  if (!file) return tl::unexpected(file.error());
  std::string text(most + 1, '\0');
  std::size_t size = 0;
  while (size < text.size()) {
    ssize_t got = ::read(file->fd(), text.data() + size, text.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail(fmt::format("{}: can't be read: {}", name, std::strerror(errno)));
    if (got == 0) break;
    size += static_cast<std::size_t>(got);
  }
  text.resize(size);
  return text;
}

}  // namespace weir
