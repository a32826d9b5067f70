// The detector behind the DNS parser. Messages, each behind one byte of time (units of 10 minutes;
// the lowest bit says incoming) and two bytes of length.
#include "core/base/result.h"
#include "core/detect/dns_tunnel.h"

using namespace weir;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Reader in(Bytes(data, size));
  const auto detector = make_dns_tunnel();
  Flow flow;
  flow.record.key.server.port = 53;
  Stamp at;
  std::vector<Signal> signals;
  while (in.left() > 3) {
    const std::uint8_t step = in.u8();
    at.boot_ns += (step >> 1) * std::int64_t{600'000'000'000};
    const std::uint16_t length = in.u16();
    const auto message = parse_dns(in.take(std::min<std::size_t>(length, in.left())));
    if (!message) continue;
    Observation seen;
    seen.flow = &flow;
    seen.direction = step & 1 ? Direction::incoming : Direction::outgoing;
    seen.dns = &*message;
    seen.dns_count = 1;
    detector->on(seen, at, signals);
    detector->tick(at, signals);
  }
  detector->finish(signals);
  for (const Signal& s : signals) {
    WEIR_CHECK(s.finding.detector == "dns_tunnel" && !s.finding.because.empty() && !s.key.empty());
    WEIR_CHECK(s.finding.confidence >= 50 && s.finding.confidence <= 98);
  }
  return 0;
}
