// Records of the kernel part's ring and of utmp, as the sealed engine reads them. First byte:
// which.
#include "agent/engine/logins.h"
#include "agent/engine/ring_events.h"
#include "core/base/result.h"

using namespace weir;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const Bytes rest(data + 1, size - 1);
  if (data[0] % 2 == 1) {
    const auto logins = logins_in(rest);
    WEIR_CHECK(logins.size() <= kMaxUtmpRecords);
    WEIR_CHECK(changes(logins, logins).empty());
    return 0;
  }
  RingDamage damage;
  const auto event = event_of(rest, 1'700'000'000'000'000'000, damage);
  WEIR_CHECK(!event || damage.malformed + damage.unknown == 0);
  if (!event) return 0;
  if (const auto* packet = std::get_if<Packet>(&event->body)) {
    WEIR_CHECK(packet->bytes.size() <= WEIR_HEAD_MAX &&
               packet->wire_length >= packet->bytes.size());
    std::uint32_t sum = 0;  // reads every byte, so that the sanitizer does
    for (const std::uint8_t byte : packet->bytes) sum += byte;
    WEIR_CHECK(sum <= 255u * WEIR_HEAD_MAX);
  }
  if (const auto* started = std::get_if<ProcessStarted>(&event->body))
    WEIR_CHECK(started->program.size() <= sizeof(weir_exec::program));
  (void)session_of(*event);
  return 0;
}
