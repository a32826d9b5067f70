// The same number of messages of the same size as bench_ingest's reports, to a syslog server over
// TCP: bench_syslog PORT FILE PID [RECORDS]
// From 100 connections; waits until FILE, which the server PID writes each message to as it came,
// has them all. Prints: syslog RECORDS BYTES-EACH RECORDS/s CPU-US-EACH, the CPU being the
// server's.
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "bench/records.h"
#include "weir/v1/agent.pb.h"

namespace weir {
namespace {

constexpr std::uint32_t kHosts = 100;
constexpr std::chrono::seconds kPatience{60};

[[noreturn]] void give_up(const std::string& sentence) {
  fmt::print(stderr, "bench_syslog: {}\n", sentence);
  std::exit(1);
}

double cpu_seconds_of(const std::string& pid) {
  std::ifstream in("/proc/" + pid + "/stat");
  std::string line;
  std::getline(in, line);
  if (line.rfind(')') == std::string::npos) give_up("the server is gone");
  std::istringstream fields(line.substr(line.rfind(')') + 1));
  std::string skipped;
  for (int n = 0; n < 11; ++n) fields >> skipped;  // state … cmajflt
  double user = 0, system = 0;
  fields >> user >> system;
  return (user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

int connected_to(std::uint16_t port) {
  int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) give_up("no server there");
  return fd;
}

void send_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) give_up("the server closed the connection");
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
}

// As many bytes as a report of bench_ingest has with its hash, in the form of RFC 5424.
std::size_t record_size() {
  const v1::SealedRecord record = batches_of(true, kBatch).at(0).records(0);
  return record.previous_hash().size() + record.ciphertext().size();
}

int run(std::uint16_t port, const std::string& file, const std::string& pid,
        std::uint64_t records) {
  std::string message = "<110>1 2026-11-22T10:00:00.000000Z desk weir - - - ";
  message.resize(record_size() - 1, 'x');
  message += '\n';
  std::string batch;
  for (int n = 0; n < kBatch; ++n) batch += message;
  const std::uint64_t rounds = records / kHosts / kBatch;
  records = rounds * kHosts * kBatch;
  std::vector<int> hosts;
  for (std::uint32_t n = 0; n < kHosts; ++n) hosts.push_back(connected_to(port));
  const double cpu = cpu_seconds_of(pid);
  const auto start = std::chrono::steady_clock::now();
  for (std::uint64_t round = 0; round < rounds; ++round)
    for (int host : hosts) send_all(host, batch);
  std::error_code error;
  while (std::filesystem::file_size(file, error) < records * message.size() || error) {
    if (std::chrono::steady_clock::now() - start > kPatience) give_up("not all were written");
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  fmt::print("syslog {} {} {:.0f} {:.2f}\n", records, message.size(),
             static_cast<double>(records) / seconds,
             (cpu_seconds_of(pid) - cpu) * 1e6 / static_cast<double>(records));
  return 0;
}

}  // namespace
}  // namespace weir

int main(int argc, char** argv) {
  if (argc < 4 || argc > 5) {
    fmt::print(stderr, "usage: bench_syslog PORT FILE PID [RECORDS]\n");
    return 2;
  }
  const auto port = static_cast<std::uint16_t>(std::strtoul(argv[1], nullptr, 10));
  return weir::run(port, argv[2], argv[3],
                   argc > 4 ? std::strtoull(argv[4], nullptr, 10) : 400'000);
}
