// The event log: what `weir run --record` writes and `weir replay` reads. The format is on one page
// in docs/event-log.md. The same log and the same policy give the same reports. Thread: one, for
// each writer and each reader.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <memory>
#include <string>

#include "core/base/bytes.h"
#include "core/base/result.h"
#include "core/event/event.h"

namespace weir {

inline constexpr std::size_t kLogHeaderBytes = 16;
// One event: a policy of 1 MiB or a packet of 256 KiB, and what stands around them.
inline constexpr std::uint32_t kMaxLogRecord = 2 << 20;
// A forgotten recording must not fill a disk: about a day of a busy desk.
inline constexpr std::uint64_t kMaxLogBytes = std::uint64_t{4} << 30;

bool is_event_log(Bytes start);  // by its first 8 bytes

// Writes to an open file, which stays the caller's. Events are gathered and written in pieces of
// 64 KiB, at flush() and at the end. After a failed write the log ends there: what follows is
// counted.
class LogWriter {
 public:
  explicit LogWriter(int fd);
  ~LogWriter();
  LogWriter(const LogWriter&) = delete;
  LogWriter& operator=(const LogWriter&) = delete;

  void write(const Event& event);
  bool flush();                         // false: the file took no more
  std::uint64_t events() const;         // in the log, or still to be flushed
  std::uint64_t lost() const;           // not written: no room, too large, or after a failure
  const std::string& sentence() const;  // why the first one was lost, "" while none is

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// What a reader could not use. A record that is cut or whose checksum is wrong ends the log,
// because nothing tells where the next one starts; an event that this version can't read is
// skipped.
struct LogDamage {
  std::uint64_t events_skipped = 0;
  std::uint64_t bytes_skipped = 0;  // from the first damaged record to the end
  std::string sentence;  // about the first one, with record number and offset; "" if none
};

class LogReader {
 public:
  // `input` outlives the reader. Fails where it holds no event log or one of a later version.
  static Result<LogReader> open(std::istream& input);

  // The next event; false at the end. Its spans live until the next call.
  bool next(Event& event);
  std::uint64_t events() const;  // given so far
  const LogDamage& damage() const;

  LogReader(LogReader&&) noexcept;
  LogReader& operator=(LogReader&&) noexcept;
  ~LogReader();

 private:
  struct State;
  explicit LogReader(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace weir
