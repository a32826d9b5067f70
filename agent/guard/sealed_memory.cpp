// Memory with a descriptor: see sealed_memory.h.
#include "agent/guard/sealed_memory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "platform/files/fd.h"
#include "platform/files/passing.h"

namespace weir {
namespace {

constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL;

tl::unexpected<Error> failed(const char* what) {
  return fail(fmt::format("no memory for a policy: {}: {}", what, std::strerror(errno)));
}

}  // namespace

int new_memory(const char* name) {
  return ::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
}

// Takes `fd` in any case.
Result<SealedMemory> SealedMemory::map(int fd, std::size_t most) {
  SealedMemory memory(fd, {});
  struct stat info {};
  if (::fstat(fd, &info) != 0) return failed("fstat");
  if (info.st_size <= 0 || static_cast<std::size_t>(info.st_size) > most)
    return fail("memory of a size that no policy has");
  auto size = static_cast<std::size_t>(info.st_size);
  void* at = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (at == MAP_FAILED) return failed("mmap");
  memory.bytes_ = {static_cast<const std::uint8_t*>(at), size};
  return memory;
}

Result<SealedMemory> SealedMemory::make(const char* name, Bytes bytes) {
  Fd fd = sealed_memory(name, bytes);
  if (!fd) return failed("memfd_create");
  return map(fd.release(), bytes.size());
}

Result<SealedMemory> SealedMemory::take(int fd, std::size_t most) {
  if (::fcntl(fd, F_ADD_SEALS, kSeals) != 0) {
    ::close(fd);
    return failed("seals");
  }
  return map(fd, most);
}

Result<SealedMemory> SealedMemory::foreign(int fd, std::size_t most) {
  int seals = ::fcntl(fd, F_GET_SEALS);
  if (seals < 0 || (seals & kSeals) != kSeals) {
    ::close(fd);
    return fail("memory that is not sealed");
  }
  return map(fd, most);
}

SealedMemory::~SealedMemory() {
  if (!bytes_.empty()) ::munmap(const_cast<std::uint8_t*>(bytes_.data()), bytes_.size());
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace weir
