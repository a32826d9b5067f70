// The order of a direction's bytes against a plain model: whatever overlaps, repeats or comes late,
// the gapless start is made of first copies, and each byte of the direction is counted once.
#include <map>

#include "core/base/result.h"
#include "core/net/tcp.h"

using namespace weir;

namespace {

constexpr std::size_t kCapacity = 1024;
constexpr std::uint32_t kBase = 0xfffffe00;  // the numbers wrap inside

void headers(Bytes bytes) {
  const auto length = static_cast<std::uint32_t>(bytes.size());
  if (const auto tcp = parse_tcp(bytes, length))
    WEIR_CHECK(tcp->payload.size() == tcp->payload_length);
  if (const auto udp = parse_udp(bytes, length))
    WEIR_CHECK(udp->payload.size() == udp->payload_length);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  headers(Bytes(data, size));
  Reader in(Bytes(data, size));
  StreamStart stream(kBase, kCapacity);
  SequenceCount count;
  count.start(kBase);
  std::map<std::uint32_t, std::uint8_t> model;  // by offset since kBase
  std::uint32_t base = 0;
  std::uint64_t counted = 0;
  for (int i = 0; i < 200 && in.left() >= 3; ++i) {
    const std::uint16_t where = in.u16();
    const std::uint8_t length = in.u8();
    const std::uint32_t offset = where % 1200;
    const Bytes payload = in.take(std::min<std::size_t>(length, in.left()));
    const std::uint32_t fresh =
        count.add(kBase + offset, static_cast<std::uint32_t>(payload.size()));
    WEIR_CHECK(fresh <= payload.size());
    counted += fresh;
    const std::size_t old =
        std::min<std::size_t>(payload.size(), base > offset ? base - offset : 0);
    if (stream.add(kBase + offset, payload) < payload.size() - old)
      for (std::size_t k = 0; k < payload.size(); ++k)
        if (offset + k >= base && offset + k < base + kCapacity)
          model.try_emplace(offset + static_cast<std::uint32_t>(k), payload[k]);
    const Bytes start = stream.bytes();
    for (std::size_t k = 0; k < start.size(); ++k)
      WEIR_CHECK(model.at(base + static_cast<std::uint32_t>(k)) == start[k]);
    WEIR_CHECK(!model.contains(base + static_cast<std::uint32_t>(start.size())));
    if (where & 0x8000) {
      stream.consume(start.size() / 2);
      base += static_cast<std::uint32_t>(start.size() / 2);
    }
  }
  WEIR_CHECK(counted <= 1200 + 255);
  return 0;
}
