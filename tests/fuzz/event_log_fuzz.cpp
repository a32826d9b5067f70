// Event logs: the bytes as a whole log, and as the payload of one record whose framing is right
// (else a fuzzer would only ever see the checksum).
#include <sstream>

#include "core/base/result.h"
#include "core/policy/policy.h"
#include "platform/event_log/event_log.h"
#include "platform/event_log/event_proto.h"
#include "platform/event_log/framing.h"
#include "weir/v1/event.pb.h"

using namespace weir;

namespace {

// What the line may rely on in every event that a log gives.
void check(const Event& event) {
  if (const auto* packet = std::get_if<Packet>(&event.body)) {
    WEIR_CHECK(packet->wire_length >= packet->bytes.size());
  }
  if (const auto* changed = std::get_if<PolicyChanged>(&event.body)) {
    WEIR_CHECK(changed->policy != nullptr);
    WEIR_CHECK(changed->policy->limits.size() <= kMaxLimits);
  }
  v1::Event again;  // an event that was read can be written and read
  to_proto(event, again);
  WEIR_CHECK(from_proto(again).has_value());
}

void read_log(const std::string& bytes) {
  std::istringstream input(bytes);
  auto reader = LogReader::open(input);
  if (!reader) return;
  Event event;
  while (reader->next(event)) check(event);
  WEIR_CHECK(reader->damage().bytes_skipped <= bytes.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  read_log(std::string(text_of(Bytes(data, size))));
  if (size > kMaxLogRecord) return 0;
  std::string framed(text_of(event_log::kMagic));
  framed += std::string("\1\0\0\0\0\0\0\0", 8);
  framed += text_of(event_log::header_of(0, Bytes(data, size)));
  framed += text_of(Bytes(data, size));
  read_log(framed);
  return 0;
}
