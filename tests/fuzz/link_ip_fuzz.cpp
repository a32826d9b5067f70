// Link layers, IP headers and fragments. First byte: the link type; then packets, each behind two
// bytes of length, all of one Fragments.
#include "core/base/result.h"
#include "core/net/ip.h"
#include "core/net/link.h"

using namespace weir;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Reader in(Bytes(data, size));
  const auto link = static_cast<LinkType>(in.u8() % 7);
  Fragments fragments;
  std::int64_t now = 0;
  while (in.left() > 2) {
    const std::uint16_t length = in.u16();
    const Bytes frame = in.take(std::min<std::size_t>(length, in.left()));
    const auto bytes = ip_in_frame(link, frame);
    if (!bytes) continue;
    WEIR_CHECK(bytes->size() <= frame.size());
    const auto wire = static_cast<std::uint32_t>(bytes->size());
    const auto packet = parse_ip(*bytes, wire);
    if (!packet) continue;
    WEIR_CHECK(packet->payload.size() <= packet->payload_length);
    WEIR_CHECK(packet->payload_length <= packet->length && packet->length <= wire);
    if (!packet->fragment) continue;
    if (const auto whole = fragments.add(*packet, now += 1'000'000'000)) {
      WEIR_CHECK(whole->payload.size() <= 65535 && !whole->fragment);
      std::uint32_t sum = 0;  // reads every byte, so that the sanitizer does
      for (const std::uint8_t byte : whole->payload) sum += byte;
      WEIR_CHECK(sum <= 255u * 65535u);
    }
  }
  return 0;
}
