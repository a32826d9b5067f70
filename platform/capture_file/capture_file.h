// A source: the packets of a pcap or pcapng file, plain, gzip or zstd, in the file's order.
// One pass, one thread. Memory is bounded by libpcap's largest packet and one decompression window.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "core/base/result.h"
#include "core/event/event.h"

namespace weir {

class CaptureFile {
 public:
  // Fails where the file can't be read or is no capture, with a sentence that names it: by `name`
  // where the path is not what the caller knows it by.
  static Result<CaptureFile> open(const std::string& path, const std::string& name = {});
  CaptureFile(CaptureFile&&) noexcept;
  CaptureFile& operator=(CaptureFile&&) noexcept;
  ~CaptureFile();

  // The next packet, its bytes good until the next call. False at the end, also at a damaged one.
  bool next(Event& event);

  // "" after a whole file; else one sentence on where and why reading ended early. The packets
  // before that were all given.
  const std::string& ending() const;
  std::uint64_t packets() const;  // given so far

 private:
  struct State;
  explicit CaptureFile(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace weir
