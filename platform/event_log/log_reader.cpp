// The reading side of the event log: see event_log.h.
#include <fmt/format.h>
#include <google/protobuf/io/coded_stream.h>

#include <algorithm>
#include <istream>
#include <vector>

#include "platform/event_log/event_log.h"
#include "platform/event_log/event_proto.h"
#include "platform/event_log/framing.h"
#include "proto/map/policy_proto.h"
#include "weir/v1/event.pb.h"

namespace weir {
namespace {

// Event, PolicyChanged, Policy, Rule, then the conditions.
constexpr int kRecursion = kMaxConditionDepth + 4;
constexpr std::size_t kReservedAt = 12;  // in the header: magic 8, version 4, then zero

// Bytes that were there, at most `wanted`.
std::size_t read_some(std::istream& input, std::uint8_t* out, std::size_t wanted) {
  input.read(reinterpret_cast<char*>(out), static_cast<std::streamsize>(wanted));
  return static_cast<std::size_t>(input.gcount());
}

std::uint64_t bytes_left(std::istream& input) {
  std::array<std::uint8_t, 4096> scrap;
  std::uint64_t sum = 0;
  while (std::size_t n = read_some(input, scrap.data(), scrap.size())) sum += n;
  return sum;
}

bool parse(Bytes payload, v1::Event& out) {
  google::protobuf::io::CodedInputStream stream(payload.data(), static_cast<int>(payload.size()));
  stream.SetRecursionLimit(kRecursion);
  return out.ParseFromCodedStream(&stream) && stream.ConsumedEntireMessage();
}

}  // namespace

struct LogReader::State {
  std::istream* input = nullptr;
  std::vector<std::uint8_t> payload;
  v1::Event message;          // what the spans of the last event point into
  std::uint64_t records = 0;  // whole ones so far
  std::uint64_t events = 0;
  std::uint64_t offset = kLogHeaderBytes;
  bool ended = false;
  LogDamage damage;

  void note(std::string_view what) {
    if (!damage.sentence.empty()) return;
    damage.sentence = fmt::format("record {} at byte {}: {}", records, offset, what);
  }
  void end(std::string_view what, std::uint64_t seen) {
    ended = true;
    note(what);
    damage.bytes_skipped = seen + bytes_left(*input);
  }
  bool read_record();
};

// One whole record into `payload`. False: the log is over, by its end or by damage.
bool LogReader::State::read_record() {
  event_log::RecordHeader header{};
  std::size_t got = read_some(*input, header.data(), header.size());
  if (got == 0) {
    ended = true;
    return false;
  }
  if (got < header.size()) {
    end("the log is cut inside the record's header", got);
    return false;
  }
  std::uint32_t length = event_log::length_in(header);
  if (length > kMaxLogRecord) {
    end(fmt::format("its length of {} bytes is beyond the limit of {}", length, kMaxLogRecord),
        got);
    return false;
  }
  payload.resize(length);
  got = read_some(*input, payload.data(), length);
  if (got < length) {
    end(fmt::format("the log is cut: {} of {} bytes are there", got, length), header.size() + got);
    return false;
  }
  if (!event_log::matches(header, records, payload)) {
    end("its checksum is wrong; what follows was not read", header.size() + length);
    return false;
  }
  return true;
}

bool is_event_log(Bytes start) {
  return start.size() >= event_log::kMagic.size() &&
         std::equal(event_log::kMagic.begin(), event_log::kMagic.end(), start.begin());
}

Result<LogReader> LogReader::open(std::istream& input) {
  std::array<std::uint8_t, kLogHeaderBytes> header{};
  std::size_t got = read_some(input, header.data(), header.size());
  if (!is_event_log(Bytes(header.data(), got))) return fail("it is not an event log");
  if (got < header.size()) return fail("the event log is cut inside its header");
  std::uint32_t version = 0;
  for (std::size_t i = 4; i-- > 0;) version = version << 8 | header[event_log::kMagic.size() + i];
  if (version != event_log::kVersion) {
    return fail(fmt::format("the event log has version {}; this program reads version {}", version,
                            event_log::kVersion));
  }
  if (std::any_of(header.begin() + kReservedAt, header.end(), [](auto b) { return b != 0; })) {
    return fail("the event log's header is damaged");
  }
  auto state = std::make_unique<State>();
  state->input = &input;
  return LogReader(std::move(state));
}

bool LogReader::next(Event& event) {
  State& s = *state_;
  while (!s.ended && s.read_record()) {
    Result<Event> read = fail("its bytes are no event");
    if (parse(s.payload, s.message)) read = from_proto(s.message);
    if (!read) {
      ++s.damage.events_skipped;
      s.note(read.error().sentence);
    }
    ++s.records;
    s.offset += event_log::kRecordHeader + s.payload.size();
    if (!read) continue;
    event = std::move(*read);
    ++s.events;
    return true;
  }
  return false;
}

std::uint64_t LogReader::events() const {
  return state_->events;
}
const LogDamage& LogReader::damage() const {
  return state_->damage;
}

LogReader::LogReader(std::unique_ptr<State> state) : state_(std::move(state)) {}
LogReader::LogReader(LogReader&&) noexcept = default;
LogReader& LogReader::operator=(LogReader&&) noexcept = default;
LogReader::~LogReader() = default;

}  // namespace weir
