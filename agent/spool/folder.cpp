// A folder of small files, by its descriptor: see folder.h.
#include "agent/spool/folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

namespace weir::spool {
namespace {

constexpr mode_t kMode = 0640;  // the uplink's group reads

}  // namespace

Fd open_file(int folder, const std::string& name, int flags) {
  return Fd(::openat(folder, name.c_str(), flags | O_NOFOLLOW | O_CLOEXEC, kMode));
}

Fd open_again(int folder) {
  return open_file(folder, ".", O_RDONLY | O_DIRECTORY);
}

Result<std::vector<Listed>> list(int folder) {
  Fd again = open_again(folder);
  std::unique_ptr<DIR, int (*)(DIR*)> entries(again ? ::fdopendir(again.get()) : nullptr,
                                              [](DIR* open) { return ::closedir(open); });
  if (!entries)
    return fail(fmt::format("the spool's folder can't be read: {}", std::strerror(errno)));
  again.release();  // closed with `entries`
  std::vector<Listed> found;
  while (const dirent* entry = ::readdir(entries.get())) {
    auto parsed = parse_name(entry->d_name);
    if (parsed && found.size() < kMaxFiles) found.push_back({entry->d_name, *parsed});
  }
  std::sort(found.begin(), found.end(),
            [](const Listed& a, const Listed& b) { return a.name < b.name; });
  return found;
}

std::vector<std::uint8_t> read_at(int fd, std::uint64_t offset, std::size_t most) {
  off_t end = ::lseek(fd, 0, SEEK_END);
  std::uint64_t there = end > 0 ? static_cast<std::uint64_t>(end) : 0;
  std::vector<std::uint8_t> bytes(std::min<std::uint64_t>(most, there - std::min(there, offset)));
  std::size_t have = 0;
  most = bytes.size();
  while (have < most) {
    ssize_t got = ::pread(fd, bytes.data() + have, most - have, static_cast<off_t>(offset + have));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    have += static_cast<std::size_t>(got);
  }
  bytes.resize(have);
  return bytes;
}

bool write_at(int fd, Bytes bytes, std::uint64_t offset) {
  while (!bytes.empty()) {
    ssize_t put = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) {
      if (put == 0) errno = ENOSPC;
      return false;
    }
    bytes = bytes.subspan(static_cast<std::size_t>(put));
    offset += static_cast<std::uint64_t>(put);
  }
  return true;
}

}  // namespace weir::spool
