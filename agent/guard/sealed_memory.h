// Memory with a descriptor (memfd): written once, then sealed so that nobody can change it, the
// maker included. Thread: one owner.
#pragma once

#include <cstddef>
#include <utility>

#include "core/base/bytes.h"
#include "core/base/result.h"

namespace weir {

class SealedMemory {
 public:
  static Result<SealedMemory> make(const char* name, Bytes bytes);
  // Takes over a descriptor and seals it: an Error if it is larger than `most`, or is no memfd.
  static Result<SealedMemory> take(int fd, std::size_t most);
  // One of another program: an Error unless it was sealed by it, and has a size from 1 to `most`.
  static Result<SealedMemory> foreign(int fd, std::size_t most);

  SealedMemory() = default;
  SealedMemory(SealedMemory&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)), bytes_(std::exchange(other.bytes_, {})) {}
  SealedMemory& operator=(SealedMemory&& other) noexcept {
    std::swap(fd_, other.fd_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~SealedMemory();

  int fd() const { return fd_; }  // -1: none
  Bytes bytes() const { return bytes_; }

 private:
  SealedMemory(int fd, Bytes bytes) : fd_(fd), bytes_(bytes) {}
  static Result<SealedMemory> map(int fd, std::size_t most);
  int fd_ = -1;
  Bytes bytes_;  // a read-only mapping
};

int new_memory(const char* name);  // an empty one, to be written by somebody; -1: errno says why

}  // namespace weir
