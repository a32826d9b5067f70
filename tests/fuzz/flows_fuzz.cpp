// The whole way of packets through core/net. First byte: the link type; then packets, each behind
// one byte of time (units of 4 s) and two bytes of length.
#include "core/base/result.h"
#include "core/net/flows.h"

using namespace weir;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Reader in(Bytes(data, size));
  const auto link = static_cast<LinkType>(in.u8() % 7);
  std::uint64_t ended = 0;
  Flows flows([&](const Flow& flow) {
    WEIR_CHECK(!flow.record.protocol.empty());
    WEIR_CHECK(flow.serial != 0 && flow.record.first_seen_ns <= flow.record.last_seen_ns);
    ++ended;
  });
  Stamp at;
  std::uint64_t bytes = 0;
  while (in.left() > 3) {
    at.boot_ns += in.u8() * std::int64_t{4'000'000'000};
    at.wall_ns = at.boot_ns;
    const std::uint16_t length = in.u16();
    const Bytes frame = in.take(std::min<std::size_t>(length, in.left()));
    bytes += frame.size();
    const auto wire = static_cast<std::uint32_t>(frame.size());
    const Observation seen = flows.on(Packet{link, Direction::unknown, frame, wire, {}}, at);
    WEIR_CHECK(!seen.flow || seen.payload <= 65535);
    WEIR_CHECK((seen.dns != nullptr) == (seen.dns_count > 0));
    WEIR_CHECK(!seen.dns || seen.flow);
  }
  flows.finish();
  WEIR_CHECK(ended == flows.counters().flows && flows.counters().bytes == bytes);
  return 0;
}
