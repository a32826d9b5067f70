// Runs inside a machine whose power is cut: weir_spent_cut FOLDER [--again]
// [--no-sync]
// Keeps one total in FOLDER/accounts as a guard does. It spends half of it and waits for the cut;
// with --again it spends what is left. Each line is one fact:
//   found N      with --again: what the file says at the start
//   received N   payload bytes that reached the receiver since this boot
//   limit N
//   wrong SENTENCE
// --no-sync is the control: what is to reach the disk is left to the kernel's leisure.
#include <fmt/format.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <string>
#include <string_view>

#include "tests/kernel/kept.h"

namespace {
bool syncs = true;
}

// The program's own come before the C library's.
extern "C" int fsync(int fd) {
  return syncs ? static_cast<int>(::syscall(SYS_fsync, fd)) : 0;
}
extern "C" int fdatasync(int fd) {
  return syncs ? static_cast<int>(::syscall(SYS_fdatasync, fd)) : 0;
}

namespace weir::test {
namespace {

using std::chrono::milliseconds;

constexpr std::uint64_t kNumber = 2'000'000;

template <class N>
void tell(std::string_view fact, const N& value) {
  fmt::print("{} {}\n", fact, value);
  std::fflush(stdout);
}

int run(const std::string& folder, bool again) {
  if (auto why = missing_capability(); !why.empty()) return tell("wrong", why), 1;
  Desk desk;
  KernelOptions options;
  options.cgroup = desk.cgroup();
  options.max_accounts = options.max_tasks = 4096;
  auto part = KernelPart::load(options);
  if (!part) return tell("wrong", part.error().sentence), 1;
  weir_limit row = limit_row(kNumber, 0, WEIR_PER_PERSON);
  row.name = 1;
  KeepingLoop loop(folder + "/accounts");
  tell("limit", kNumber);
  if (auto put = loop.put_in_force(*part, {row}); !put)
    return tell("wrong", put.error().sentence), 1;
  if (again) {
    std::uint64_t found = 0;
    const auto all = part->accounts();
    for (const KernelAccount& one : *all)
      if ((one.key.per & WEIR_PER_OVERFLOW) == 0) found += one.value.word;
    tell("found", found);
    desk.start(
        {"--to", kPeer4, "--shape", "flows", "--count", "4", "--size", "4000", "--ms", "90000"});
    desk.start({"--to", kPeer6, "--udp", "--size", "1000", "--pace", "5000", "--ms", "90000"});
    std::uint64_t before = 1;
    while (desk.received() != before || before == 0) {  // until nothing moves any more
      before = desk.received();
      loop.tend(*part, milliseconds(6000), [] { return false; });
    }
  } else {
    desk.start({"--to", kPeer4, "--shape", "stay", "--bytes", std::to_string(kNumber / 2), "--ms",
                "90000"});
    loop.tend(*part, milliseconds(60'000), [&] { return desk.received() == kNumber / 2; });
  }
  tell("received", desk.received());
  if (again) return 0;
  for (;;) pause();
}

}  // namespace
}  // namespace weir::test

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  bool again = false;
  for (int n = 2; n < argc; n++) {
    again = again || std::string_view(argv[n]) == "--again";
    syncs = syncs && std::string_view(argv[n]) != "--no-sync";
  }
  return weir::test::run(argv[1], again);
}
