// Capture files: pcap, pcapng, gzip and zstd. The input becomes a file in memory.
#include <sys/mman.h>
#include <unistd.h>

#include "core/base/result.h"
#include "core/net/flows.h"
#include "platform/capture_file/capture_file.h"

using namespace weir;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const int file = memfd_create("capture", MFD_CLOEXEC);
  WEIR_CHECK(file >= 0 && ftruncate(file, 0) == 0);
  WEIR_CHECK(pwrite(file, data, size, 0) == static_cast<ssize_t>(size));
  auto capture = CaptureFile::open("/proc/self/fd/" + std::to_string(file));
  if (!capture) {
    WEIR_CHECK(!capture.error().sentence.empty());
    return 0;
  }
  Flows flows([](const Flow&) {});
  Event event;
  std::int64_t boot = 0;
  // A small zstd file may hold a huge capture: enough packets to see the reader, not to time out.
  while (capture->packets() < 2000 && capture->next(event)) {
    WEIR_CHECK(event.at.boot_ns >= boot);
    boot = event.at.boot_ns;
    (void)flows.on(std::get<Packet>(event.body), event.at);
  }
  flows.finish();
  return 0;
}
