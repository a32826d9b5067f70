// The writing side of the event log: see event_log.h.
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "platform/event_log/event_log.h"
#include "platform/event_log/event_proto.h"
#include "platform/event_log/framing.h"
#include "weir/v1/event.pb.h"

namespace weir {

// Large enough that a write costs little beside the events in it, small enough to be no burden.
constexpr std::size_t kGathered = 64 * 1024;

struct LogWriter::State {
  int fd = -1;
  std::string gathered;
  v1::Event message;  // kept for its memory
  std::string payload;
  std::uint64_t events = 0;
  std::uint64_t flushed = 0;  // events that the file took
  std::uint64_t lost = 0;
  std::uint64_t written = 0;  // bytes, with those that are gathered
  bool ended = false;         // no further record may follow
  std::string sentence;

  void append(Bytes bytes) {
    gathered.append(text_of(bytes));
    written += bytes.size();
  }
  void lose(std::string why) {
    ++lost;
    if (sentence.empty()) sentence = std::move(why);
  }
  void end(std::string why) {
    ended = true;
    if (sentence.empty()) sentence = std::move(why);
  }
};

LogWriter::LogWriter(int fd) : state_(std::make_unique<State>()) {
  state_->fd = fd;
  state_->append(event_log::kMagic);
  std::array<std::uint8_t, kLogHeaderBytes - event_log::kMagic.size()> rest{};
  rest[0] = event_log::kVersion;  // u32 little endian, then four bytes of zero
  state_->append(rest);
}

LogWriter::~LogWriter() {
  flush();
}

void LogWriter::write(const Event& event) {
  State& s = *state_;
  if (s.ended) return s.lose(s.sentence);
  to_proto(event, s.message);
  s.message.SerializeToString(&s.payload);
  if (s.payload.size() > kMaxLogRecord) {
    return s.lose(fmt::format("an event of {} bytes was left out of the event log; the limit is {}",
                              s.payload.size(), kMaxLogRecord));
  }
  if (s.written + event_log::kRecordHeader + s.payload.size() > kMaxLogBytes) {
    s.end(fmt::format("the event log is full at {} bytes; start a new one", s.written));
    return s.lose(s.sentence);
  }
  s.append(event_log::header_of(s.events, bytes_of(s.payload)));
  s.append(bytes_of(s.payload));
  ++s.events;
  if (s.gathered.size() >= kGathered) flush();
}

bool LogWriter::flush() {
  State& s = *state_;
  std::size_t done = 0;
  while (!s.ended && done < s.gathered.size()) {
    ssize_t n = ::write(s.fd, s.gathered.data() + done, s.gathered.size() - done);
    if (n > 0) {
      done += static_cast<std::size_t>(n);
    } else if (n == 0 || errno != EINTR) {
      s.end(fmt::format("the event log ends early: {}", std::strerror(n == 0 ? ENOSPC : errno)));
    }
  }
  s.gathered.clear();
  if (s.ended) {
    s.lost += s.events - s.flushed;  // some of the last piece may be there, whole or cut
    s.events = s.flushed;
  } else {
    s.flushed = s.events;
  }
  return !s.ended;
}

std::uint64_t LogWriter::events() const {
  return state_->events;
}
std::uint64_t LogWriter::lost() const {
  return state_->lost;
}
const std::string& LogWriter::sentence() const {
  return state_->sentence;
}

}  // namespace weir
