// The spool's foreign bytes: a segment, a name, positions. A record that is accepted is one that
// the format's own encoder writes.
#include "agent/spool/format.h"
#include "core/base/result.h"

using namespace weir;
using namespace weir::spool;

namespace {

void segment(Bytes file, const SegmentHeader* assumed) {
  auto scan = scan_segment(file, assumed);
  if (!scan) return;
  WEIR_CHECK(scan->good_end <= file.size() && scan->good_end >= kHeaderBytes);
  WEIR_CHECK(scan->last + 1 >= scan->header.first);
  WEIR_CHECK(scan->clean == (scan->good_end == file.size()));
  if (assumed == nullptr)
    WEIR_CHECK(parse_header(Bytes(header_bytes(scan->header))) == scan->header);
  std::vector<std::uint8_t> again;
  std::size_t at = kHeaderBytes;
  for (std::uint64_t sequence = scan->header.first; sequence <= scan->last; ++sequence) {
    auto record = parse_record(file.subspan(at), scan->header.lane, scan->header.epoch, sequence);
    WEIR_CHECK(record && record->bytes.size() <= kMaxSpoolRecord);
    append_record(scan->header.lane, scan->header.epoch, *record, again);
    at += record->whole();
  }
  WEIR_CHECK(at == scan->good_end);
  WEIR_CHECK(std::equal(again.begin(), again.end(), file.begin() + kHeaderBytes));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const Bytes rest(data + 1, size - 1);
  switch (data[0] % 4) {
    case 0:
      segment(rest, nullptr);
      break;
    case 1: {  // a header that doesn't hold: what it would have said comes from the name
      SegmentHeader assumed;
      assumed.epoch = 1'700'000'000'000'000'000;
      assumed.first = 1;
      segment(rest, &assumed);
      break;
    }
    case 2:
      if (auto name = parse_name(text_of(rest)))
        WEIR_CHECK(text_of(rest) == (name->last == 0
                                         ? segment_name(name->lane, name->first)
                                         : bad_name(name->lane, name->first, name->last)));
      break;
    default:
      if (auto positions = parse_positions(rest)) {
        auto again = positions_bytes(*positions);
        WEIR_CHECK(std::equal(again.begin(), again.end(), rest.begin(), rest.end()));
      }
  }
  return 0;
}
