// libpcap's offline reader as a source of events.
#include "platform/capture_file/capture_file.h"

#include <fmt/format.h>
#include <pcap/pcap.h>

#include <algorithm>

#include "platform/capture_file/inflated.h"

namespace weir {
namespace {

constexpr std::int64_t kMaxSeconds = 0xffffffff;  // the year 2106: the end of pcap's own field

LinkType link_of(int dlt) {
  switch (dlt) {
    case DLT_EN10MB:
      return LinkType::ethernet;
    case DLT_RAW:
    case DLT_IPV4:
    case DLT_IPV6:
    case 14:  // DLT_RAW of OpenBSD, which files carry too
      return LinkType::raw_ip;
    case DLT_LINUX_SLL:
      return LinkType::linux_sll;
    case DLT_LINUX_SLL2:
      return LinkType::linux_sll2;
    case DLT_NULL:
      return LinkType::null;
    case DLT_LOOP:
      return LinkType::loop;
    default:
      return LinkType::unsupported;
  }
}

struct ClosePcap {
  void operator()(pcap_t* p) const { pcap_close(p); }
};

}  // namespace

struct CaptureFile::State {
  std::string path;
  InflateState inflate;  // outlives pcap, which owns the stream
  std::unique_ptr<pcap_t, ClosePcap> pcap;
  LinkType link = LinkType::unsupported;
  std::int64_t newest_ns = 0;
  std::uint64_t packets = 0;
  std::string ending;
  bool ended = false;
};

CaptureFile::CaptureFile(std::unique_ptr<State> state) : state_(std::move(state)) {}
CaptureFile::CaptureFile(CaptureFile&&) noexcept = default;
CaptureFile& CaptureFile::operator=(CaptureFile&&) noexcept = default;
CaptureFile::~CaptureFile() = default;

Result<CaptureFile> CaptureFile::open(const std::string& path, const std::string& name) {
  auto state = std::make_unique<State>();
  state->path = name.empty() ? path : name;
  auto file = open_inflated(path, state->inflate);
  if (!file) return tl::unexpected(file.error());
  char error[PCAP_ERRBUF_SIZE] = "";
  state->pcap.reset(
      pcap_fopen_offline_with_tstamp_precision(file->get(), PCAP_TSTAMP_PRECISION_NANO, error));
  if (!state->pcap) {
    const std::string& why = state->inflate.failure.empty() ? error : state->inflate.failure;
    return fail(fmt::format("{}: not a capture file (pcap or pcapng, also gzip or zstd): {}",
                            state->path, why));
  }
  (void)file->release();  // pcap_close closes it
  state->link = link_of(pcap_datalink(state->pcap.get()));
  return CaptureFile(std::move(state));
}

bool CaptureFile::next(Event& event) {
  State& s = *state_;
  if (s.ended) return false;
  pcap_pkthdr* header = nullptr;
  const u_char* bytes = nullptr;
  const int result = pcap_next_ex(s.pcap.get(), &header, &bytes);
  if (result != 1) {
    s.ended = true;
    std::string why = s.inflate.failure;
    if (why.empty() && result == PCAP_ERROR) why = pcap_geterr(s.pcap.get());
    if (!why.empty())
      s.ending = fmt::format("{}: reading ended after packet {}: {}", s.path, s.packets, why);
    return false;
  }
  ++s.packets;
  // tv_usec holds nanoseconds at this precision. A damaged file's absurd seconds are clamped, so
  // that no later sum of times overflows.
  const std::int64_t seconds = std::clamp<std::int64_t>(header->ts.tv_sec, 0, kMaxSeconds);
  const std::int64_t wall =
      seconds * 1'000'000'000 + std::clamp<std::int64_t>(header->ts.tv_usec, 0, 999'999'999);
  s.newest_ns = std::max(s.newest_ns, wall);
  event.at = {wall, s.newest_ns};
  Packet* packet = std::get_if<Packet>(&event.body);
  if (!packet) packet = &event.body.emplace<Packet>();
  *packet = Packet{s.link,
                   Direction::unknown,
                   {bytes, header->caplen},
                   std::max(header->len, header->caplen),
                   {}};
  return true;
}

const std::string& CaptureFile::ending() const {
  return state_->ending;
}
std::uint64_t CaptureFile::packets() const {
  return state_->packets;
}

}  // namespace weir
