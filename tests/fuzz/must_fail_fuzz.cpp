// The self-check of tests/fuzz/run: crashes on one word, which the fuzzer finds only if it is
// guided by coverage. A run in which this passes proves nothing about the other targets.
#include <cstdint>
#include <cstdio>
#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size >= 4 && data[0] == 'w' && data[1] == 'e' && data[2] == 'i' && data[3] == 'r') {
    std::fputs("must_fail found the word\n", stderr);
    std::abort();
  }
  return 0;
}
