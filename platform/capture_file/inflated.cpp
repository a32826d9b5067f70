// Decompression behind fopencookie: no pipe, no child, no temporary file.
#include "platform/capture_file/inflated.h"

#include <fmt/format.h>
#include <zlib.h>
#include <zstd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

namespace weir {
namespace {

constexpr std::size_t kReadAtOnce = 256 * 1024;  // fits a second-level cache, read to use
constexpr std::size_t kChunk = 64 * 1024;        // compressed bytes read at once
constexpr int kMaxZstdWindow = 27;               // log2: 128 MiB, what the zstd program accepts too

struct Source {
  File file;
  InflateState* state;
  std::array<unsigned char, kChunk> in;
  std::size_t filled = 0, used = 0;
  bool ended = false;       // of the compressed file
  bool mid_stream = false;  // inside a gzip member or a zstd frame

  Source(File f, InflateState& s) : file(std::move(f)), state(&s) {}
  virtual ~Source() = default;
  // Moves bytes from in to out; how many were made, -1 after writing state->failure.
  virtual ssize_t step(char* out, std::size_t size) = 0;

  ssize_t read(char* out, std::size_t size) {
    if (!state->failure.empty()) return -1;
    for (;;) {
      if (used == filled && !ended) {
        filled = std::fread(in.data(), 1, in.size(), file.get());
        used = 0;
        if (filled == 0) ended = true;
      }
      const ssize_t made = step(out, size);
      if (made != 0) return made;
      if (ended && used == filled) {
        if (mid_stream) state->failure = "the compressed data ends early";
        return 0;  // what was decompressed so far is whole packets and perhaps a part of one
      }
    }
  }
};

struct Gzip : Source {
  z_stream stream{};
  bool bad = false;

  using Source::Source;
  ~Gzip() override { inflateEnd(&stream); }
  bool start() { return inflateInit2(&stream, 16 + MAX_WBITS) == Z_OK; }

  ssize_t step(char* out, std::size_t size) override {
    stream.next_in = in.data() + used;
    stream.avail_in = static_cast<uInt>(filled - used);
    stream.next_out = reinterpret_cast<Bytef*>(out);
    stream.avail_out = static_cast<uInt>(size);
    const int result = inflate(&stream, Z_NO_FLUSH);
    used = filled - stream.avail_in;
    if (result == Z_STREAM_END) {  // another member may follow
      inflateReset(&stream);
      mid_stream = false;
    } else if (result == Z_OK) {
      mid_stream = true;
    } else if (result != Z_BUF_ERROR) {
      state->failure = "the gzip data is damaged";
      const auto made = static_cast<ssize_t>(size - stream.avail_out);
      return made > 0 ? made : -1;
    }
    return static_cast<ssize_t>(size - stream.avail_out);
  }
};

struct Zstd : Source {
  ZSTD_DStream* stream = ZSTD_createDStream();

  using Source::Source;
  ~Zstd() override { ZSTD_freeDStream(stream); }
  bool start() {
    return stream && !ZSTD_isError(ZSTD_initDStream(stream)) &&
           !ZSTD_isError(ZSTD_DCtx_setParameter(stream, ZSTD_d_windowLogMax, kMaxZstdWindow));
  }

  ssize_t step(char* out, std::size_t size) override {
    ZSTD_inBuffer from{in.data(), filled, used};
    ZSTD_outBuffer to{out, size, 0};
    const std::size_t result = ZSTD_decompressStream(stream, &to, &from);
    if (ZSTD_isError(result)) {
      state->failure = fmt::format("the zstd data is damaged: {}", ZSTD_getErrorName(result));
      return -1;
    }
    if (from.pos > used || to.pos > 0) mid_stream = result != 0;
    used = from.pos;
    return static_cast<ssize_t>(to.pos);
  }
};

ssize_t read_cookie(void* cookie, char* out, std::size_t size) {
  return static_cast<Source*>(cookie)->read(out, size);
}

int close_cookie(void* cookie) {
  delete static_cast<Source*>(cookie);
  return 0;
}

template <class Kind>
Result<File> through(File file, const std::string& path, InflateState& state) {
  auto source = std::make_unique<Kind>(std::move(file), state);
  if (!source->start()) return fail(fmt::format("{}: no memory to decompress it", path));
  cookie_io_functions_t calls{};
  calls.read = read_cookie;
  calls.close = close_cookie;
  File stream(fopencookie(source.get(), "r", calls));
  if (!stream) return fail(fmt::format("{}: {}", path, std::strerror(errno)));
  (void)source.release();  // close_cookie deletes it
  return stream;
}

}  // namespace

Result<File> open_inflated(const std::string& path, InflateState& state) {
  File file(std::fopen(path.c_str(), "rbe"));
  if (!file) return fail(fmt::format("{}: {}", path, std::strerror(errno)));
  state.buffer.resize(kReadAtOnce);
  (void)std::setvbuf(file.get(), state.buffer.data(), _IOFBF, state.buffer.size());
  std::array<unsigned char, 4> magic{};
  const std::size_t n = std::fread(magic.data(), 1, magic.size(), file.get());
  if (std::ferror(file.get())) return fail(fmt::format("{}: {}", path, std::strerror(errno)));
  const bool gzip = n >= 2 && magic[0] == 0x1f && magic[1] == 0x8b;
  const bool zstd =
      n == 4 && magic[0] == 0x28 && magic[1] == 0xb5 && magic[2] == 0x2f && magic[3] == 0xfd;
  if (std::fseek(file.get(), 0, SEEK_SET) != 0)
    return fail(fmt::format("{}: can't be read from its start again ({}); give a file, not a pipe",
                            path, std::strerror(errno)));
  if (gzip) return through<Gzip>(std::move(file), path, state);
  if (zstd) return through<Zstd>(std::move(file), path, state);
  return file;
}

}  // namespace weir
