// A file that the caller named, opened so that nothing there can make us wait for ever: a fifo
// without a writer is an error, a pipe's content is put into an unnamed file that can be read
// twice.
#pragma once

#include <cstdint>
#include <string>

#include "core/base/result.h"

namespace weir {

class InputFile {
 public:
  // The error's sentence names the file and why. `most`: bytes that are taken from a pipe.
  static Result<InputFile> open(const std::string& name, std::uint64_t most = kMaxPiped);
  InputFile(InputFile&& other) noexcept;
  InputFile& operator=(InputFile&&) = delete;
  ~InputFile();

  int fd() const { return fd_; }  // regular, at its start
  // To open it once more: the name itself, or, while this object lives, that of the unnamed file.
  const std::string& path() const { return path_; }

  // An unnamed file has to hold it; an hour of a full 10 Mbit/s line.
  static constexpr std::uint64_t kMaxPiped = 4ull << 30;

 private:
  InputFile(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  int fd_ = -1;
  std::string path_;
};

// The whole of it, at most `most` bytes and one: a text that is longer than `most` was cut.
Result<std::string> read_input(const std::string& name, std::size_t most);

}  // namespace weir
