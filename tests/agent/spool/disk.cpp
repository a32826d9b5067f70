// The disk of these tests: see disk.h.
#include "tests/agent/spool/disk.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>

using weir::spool_test::Call;

namespace weir::spool_test {
namespace {

using Block = std::vector<std::uint8_t>;
constexpr std::size_t kBlock = 512;  // what a disk writes whole or not at all

struct Change {  // to a file: bytes at a place, or a new size
  bool truncate = false;
  std::uint64_t at = 0;
  Block bytes;
};

struct Inode {
  Block durable;
  std::vector<Change> pending;
};

struct Entry {           // change of the folder
  std::string from, to;  // to empty: removed
  std::uint64_t file = 0;
};

void take_effect(Block& content, const Change& change) {
  if (change.truncate) {
    content.resize(change.at);
    return;
  }
  content.resize(std::max<std::size_t>(content.size(), change.at + change.bytes.size()));
  std::copy(change.bytes.begin(), change.bytes.end(),
            content.begin() + static_cast<std::ptrdiff_t>(change.at));
}

Refusal refusal_of_calls;

}  // namespace

struct WriteCache::Memory {
  ino_t folder = 0;
  bool deaf = false;                     // to syncs
  std::map<ino_t, std::uint64_t> known;  // inodes are used again, these numbers are not
  std::map<std::uint64_t, Inode> files;
  std::map<std::string, std::uint64_t> durable, now;
  std::vector<Entry> pending;
};

namespace {

WriteCache::Memory* cache = nullptr;

ino_t inode_of(int fd) {
  struct stat info {};
  return ::fstat(fd, &info) == 0 ? info.st_ino : 0;
}

void remember(int fd, Change change) {
  if (cache == nullptr) return;
  auto file = cache->known.find(inode_of(fd));
  if (file != cache->known.end()) cache->files[file->second].pending.push_back(std::move(change));
}

void remember_sync(int fd) {
  if (cache == nullptr || cache->deaf) return;
  ino_t inode = inode_of(fd);
  if (inode == cache->folder) {
    cache->durable = cache->now;
    cache->pending.clear();
    return;
  }
  Inode& file = cache->files[cache->known[inode]];
  for (const Change& change : file.pending) take_effect(file.durable, change);
  file.pending.clear();
}

void take_effect(std::map<std::string, std::uint64_t>& entries, const Entry& entry) {
  if (!entry.from.empty()) entries.erase(entry.from);
  if (!entry.to.empty()) entries[entry.to] = entry.file;
}

void remember(Entry entry) {
  if (cache == nullptr) return;
  take_effect(cache->now, entry);
  cache->pending.push_back(std::move(entry));
}

void remember_made(int fd, const char* name) {
  if (cache == nullptr) return;
  std::uint64_t file = cache->files.size() + 1;
  cache->known[inode_of(fd)] = file;
  cache->files[file] = {};
  remember(Entry{"", name, file});
}

bool refused(Call call) {
  int error = refusal_of_calls ? refusal_of_calls(call) : 0;
  if (error != 0) errno = error;
  return error != 0;
}

}  // namespace

void refuse_calls(Refusal refusal) {
  refusal_of_calls = std::move(refusal);
}

WriteCache::WriteCache(int folder) : memory_(std::make_unique<Memory>()) {
  memory_->folder = inode_of(folder);
  cache = memory_.get();
}

void WriteCache::ignore_syncs() {
  memory_->deaf = true;
}

WriteCache::~WriteCache() {
  cache = nullptr;
}

void WriteCache::cut(const std::filesystem::path& into, std::mt19937& random) const {
  // Entries reach the disk in their order (a journal); how many did, chance says.
  std::map<std::string, std::uint64_t> entries = memory_->durable;
  std::size_t reached = memory_->pending.empty() ? 0 : random() % (memory_->pending.size() + 1);
  for (std::size_t n = 0; n < reached; ++n) take_effect(entries, memory_->pending[n]);
  for (const auto& [name, file] : entries) {
    auto found = memory_->files.find(file);
    Block content = found == memory_->files.end() ? Block{} : found->second.durable;
    if (found != memory_->files.end())
      for (const Change& change : found->second.pending) {
        if (change.truncate) {
          if (random() % 2 == 0) take_effect(content, change);
          continue;
        }
        for (std::size_t from = 0; from < change.bytes.size();) {
          std::size_t end =
              std::min(change.bytes.size(), from + kBlock - (change.at + from) % kBlock);
          if (random() % 2 == 0)
            take_effect(content, {false, change.at + from,
                                  Block(change.bytes.begin() + static_cast<std::ptrdiff_t>(from),
                                        change.bytes.begin() + static_cast<std::ptrdiff_t>(end))});
          from = end;
        }
      }
    std::ofstream(into / name, std::ios::binary)
        .write(reinterpret_cast<const char*>(content.data()),
               static_cast<std::streamsize>(content.size()));
  }
}

}  // namespace weir::spool_test

// The linker's names for the calls of agent/spool (tests/agent/CMakeLists.txt).
extern "C" {
int __real_openat(int folder, const char* name, int flags, ...);
ssize_t __real_pwrite(int fd, const void* bytes, size_t size, off_t at);
int __real_fdatasync(int fd);
int __real_fsync(int fd);
int __real_ftruncate(int fd, off_t size);
int __real_fallocate(int fd, int mode, off_t at, off_t size);
int __real_renameat(int a, const char* from, int b, const char* to);
int __real_unlinkat(int folder, const char* name, int flags);

int __wrap_openat(int folder, const char* name, int flags, mode_t mode) {
  bool makes = (flags & O_CREAT) != 0;
  if (makes && weir::spool_test::refused(Call::open)) return -1;
  bool there = ::faccessat(folder, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
  int fd = __real_openat(folder, name, flags, mode);
  if (fd >= 0 && makes && !there) weir::spool_test::remember_made(fd, name);
  if (fd >= 0 && (flags & O_TRUNC) != 0) weir::spool_test::remember(fd, {true, 0, {}});
  return fd;
}

ssize_t __wrap_pwrite(int fd, const void* bytes, size_t size, off_t at) {
  if (weir::spool_test::refused(Call::write)) return -1;
  ssize_t put = __real_pwrite(fd, bytes, size, at);
  const auto* start = static_cast<const std::uint8_t*>(bytes);
  if (put > 0)
    weir::spool_test::remember(fd, {false, static_cast<std::uint64_t>(at), {start, start + put}});
  return put;
}

int __wrap_fdatasync(int fd) {
  if (weir::spool_test::refused(Call::sync)) return -1;
  weir::spool_test::remember_sync(fd);
  return __real_fdatasync(fd);
}

int __wrap_fsync(int fd) {
  if (weir::spool_test::refused(Call::sync)) return -1;
  weir::spool_test::remember_sync(fd);
  return __real_fsync(fd);
}

int __wrap_ftruncate(int fd, off_t size) {
  if (weir::spool_test::refused(Call::truncate)) return -1;
  int result = __real_ftruncate(fd, size);
  if (result == 0) weir::spool_test::remember(fd, {true, static_cast<std::uint64_t>(size), {}});
  return result;
}

int __wrap_fallocate(int fd, int mode, off_t at, off_t size) {
  if (weir::spool_test::refused(Call::reserve)) return -1;
  return __real_fallocate(fd, mode, at, size);
}

int __wrap_renameat(int a, const char* from, int b, const char* to) {
  if (weir::spool_test::refused(Call::rename)) return -1;
  int result = __real_renameat(a, from, b, to);
  if (result == 0 && weir::spool_test::cache != nullptr)
    weir::spool_test::remember({from, to, weir::spool_test::cache->now[from]});
  return result;
}

int __wrap_unlinkat(int folder, const char* name, int flags) {
  if (weir::spool_test::refused(Call::remove)) return -1;
  int result = __real_unlinkat(folder, name, flags);
  if (result == 0) weir::spool_test::remember(weir::spool_test::Entry{name, "", 0});
  return result;
}
}
