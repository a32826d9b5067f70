// A folder of small files, by its descriptor: every path is a plain name of our own making, no
// symbolic link is followed. What fails says so by errno. Thread: one.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "agent/spool/format.h"
#include "platform/files/fd.h"

namespace weir::spool {

// Twice what the largest spool has of its own files: kMaxSpoolSegments of the smallest size. More
// is not looked at.
inline constexpr std::size_t kMaxFiles = 8192;

// Both without following a link; an empty Fd: errno says why.
Fd open_file(int folder, const std::string& name, int flags);
Fd open_again(int folder);  // the folder itself, as an open file of its own

// Names in it that are ours, sorted. An Error: it can't be read.
struct Listed {
  std::string name;
  SegmentName parsed;
};
Result<std::vector<Listed>> list(int folder);

std::vector<std::uint8_t> read_at(int fd, std::uint64_t offset, std::size_t most);
bool write_at(int fd, Bytes bytes, std::uint64_t offset);  // all of it

}  // namespace weir::spool
