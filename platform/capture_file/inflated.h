// A file read through gzip or zstd as a stdio stream, chunk by chunk; plain files are passed
// through.
#pragma once

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "core/base/result.h"

namespace weir {

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, CloseFile>;

// Whether the compressed data broke, for the sentence at the end: stdio only knows "error".
struct InflateState {
  std::string failure;       // "" as long as all is well
  std::vector<char> buffer;  // of the file: stdio's own would ask for every 4 KiB
};

// `state` outlives the stream.
Result<File> open_inflated(const std::string& path, InflateState& state);

}  // namespace weir
