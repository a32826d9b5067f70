// Lines of text into a descriptor that may be slow: the line of events never waits for a reader.
// What finds no room is counted. Thread: one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace weir {

class LineFile {
 public:
  // `most` bytes go into the file altogether, what it holds already included; 0: no limit.
  LineFile(int fd, std::uint64_t most);

  void add(std::string_view line);  // without its line break
  void flush();                     // what the descriptor takes now
  void drain(int timeout_ms);       // at the end: waits that long for a slow reader
  std::uint64_t dropped() const { return dropped_; }

 private:
  // A reader that stands still for minutes while a desk works: a thousand reports.
  static constexpr std::size_t kMaxWaiting = 1u << 20;

  bool flush_once(int timeout_ms);

  int fd_;
  std::uint64_t room_;
  std::string waiting_;
  std::uint64_t dropped_ = 0;
};

}  // namespace weir
