// What the spool costs: bench_spool FOLDER. Records a second through writer and reader, and the
// time until an alert is on the disk. FOLDER is on the disk to be measured; what is made there is
// removed.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "agent/spool/spool.h"

namespace {

using namespace weir;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

void alerts(SpoolWriter& writer, const std::string& record) {
  constexpr std::size_t kAlerts = 500;
  std::vector<double> took;
  for (std::size_t n = 0; n < kAlerts; ++n) {
    auto start = Clock::now();
    writer.append(SpoolLane::alert, bytes_of(record));
    if (!writer.commit(SpoolLane::alert)) std::exit(1);
    took.push_back(seconds_since(start) * 1e6);
  }
  std::sort(took.begin(), took.end());
  fmt::print("an alert of {} bytes is durable after {:.0f} us (p50), {:.0f} (p99), {:.0f} (most)\n",
             record.size(), took[kAlerts / 2], took[kAlerts * 99 / 100], took.back());
}

void rate(SpoolWriter& writer, int folder, const std::string& record) {
  constexpr std::uint64_t kRecords = 200'000, kCommit = 1000;
  auto start = Clock::now();
  for (std::uint64_t n = 1; n <= kRecords; ++n) {
    writer.append(SpoolLane::telemetry, bytes_of(record));
    if (n % kCommit == 0 && !writer.commit()) std::exit(1);
  }
  fmt::print("{:.0f} records/s written, {} bytes each, {} a commit\n",
             static_cast<double>(kRecords) / seconds_since(start), record.size(), kCommit);
  auto reader = SpoolReader::open(folder);
  start = Clock::now();
  std::uint64_t after = 0;
  for (;;) {
    auto piece = reader->read(SpoolLane::telemetry, after, 200, 1 << 20);
    if (!piece || piece->records.empty()) break;
    after = piece->records.back().sequence;
  }
  fmt::print("{:.0f} records/s read, 200 at once\n",
             static_cast<double>(after) / seconds_since(start));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    fmt::print(stderr, "bench_spool FOLDER\n");
    return 2;
  }
  std::string path = std::string(argv[1]) + "/bench-spool-XXXXXX";
  if (::mkdtemp(path.data()) == nullptr) return 1;
  int folder = ::open(path.c_str(), O_RDONLY | O_DIRECTORY);
  {
    auto writer = SpoolWriter::open(folder, SpoolLimits{}, 1);
    if (!writer || !writer->commit()) return 1;
    alerts(*writer, std::string(500, 'a'));
    rate(*writer, folder, std::string(500, 't'));
  }
  auto start = Clock::now();
  if (!SpoolWriter::open(folder, SpoolLimits{}, 1)) return 1;
  fmt::print("{:.0f} ms to open and check it again\n", seconds_since(start) * 1e3);
  std::filesystem::remove_all(path);
  return 0;
}
