// Names for the addresses that a command spoke to: see names.h.
#include "agent/run/names.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "agent/engine/ring_events.h"
#include "agent/engine/seal.h"
#include "agent/guard/descriptors.h"
#include "core/line/line.h"
#include "platform/linux/boot_clock.h"

namespace weir {
namespace {

constexpr std::size_t kMaxNames = 4096;  // sixteen times what a summary keeps
constexpr int kAnswerMs = 2000;          // the line over what is left takes milliseconds
constexpr std::size_t kLargestRecord = sizeof(weir_head) + WEIR_HEAD_MAX;

struct Row {  // the child's answer
  std::array<std::uint8_t, 16> address{};
  std::uint16_t port = 0;
  std::array<char, 254> name{};  // a host name has at most 253 characters
};
static_assert(sizeof(Row) == 272);

class NameOutlet : public Outlet {
 public:
  void enforce(const Order&) override {}
  void report(const Report&) override {}
  void usage(const UsageRow&) override {}
  void flow(const FlowRecord& flow) override {
    Row row;
    if (flow.server_name.empty() || flow.server_name.size() >= row.name.size()) return;
    row.address = flow.key.server.address.bytes;
    row.port = flow.key.server.port;
    std::copy(flow.server_name.begin(), flow.server_name.end(), row.name.begin());
    if (told_ < kMaxNames && ::write(fds::kRecord, &row, sizeof row) == sizeof row) ++told_;
  }

 private:
  std::size_t told_ = 0;
};

[[noreturn]] void name_and_exit(int records, int answers) {
  constexpr int kAside = 32;  // above the fixed numbers, while they are moved into place
  records = ::fcntl(records, F_DUPFD, kAside);
  answers = ::fcntl(answers, F_DUPFD, kAside);
  ::dup2(records, fds::kSource);
  ::dup2(answers, fds::kRecord);
  // Nothing of ours stays open here: the keeper sees our end by a pipe's.
  ::syscall(SYS_close_range, STDERR_FILENO + 1, fds::kSource - 1, 0);
  ::syscall(SYS_close_range, fds::kRecord + 1, ~0u, 0);
  ::setsid();  // the terminal's signals are for the command
  NameOutlet outlet;
  Line line(outlet);
  if (!seal_engine()) ::_exit(1);
  RingDamage damage;
  std::array<std::uint8_t, kLargestRecord> record{};
  for (;;) {
    ssize_t got = ::recv(fds::kSource, record.data(), record.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    std::optional<Event> event =
        event_of(Bytes(record).first(static_cast<std::size_t>(got)), 0, damage);
    if (event) line.on(*event);
  }
  line.finish();
  ::_exit(0);
}

// Letters that a host name has; anything else was never one.
bool is_name(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return c > 0x20 && c < 0x7f && c != '"' && c != '\\';
  });
}

}  // namespace

Result<Names> Names::start() {
  int pair[2];
  Result<Pipe> answers = Pipe::make();
  if (!answers) return tl::unexpected(answers.error());
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
    return fail(fmt::format("socketpair: {}", std::strerror(errno)));
  Fd ours(pair[0]), theirs(pair[1]);
  Result<Process> child = Process::fork([&] { name_and_exit(theirs.get(), answers->writer()); });
  if (!child) return tl::unexpected(child.error());
  answers->close_writer();
  return Names(std::move(*child), std::move(ours), std::move(*answers));
}

void Names::record(Bytes record) {
  weir_record head;
  if (record.size() < sizeof head) return;
  std::memcpy(&head, record.data(), sizeof head);
  if (head.kind == WEIR_REC_HEAD)
    (void)::send(records_.get(), record.data(), record.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
}

std::map<Endpoint, std::string> Names::finish() {
  std::map<Endpoint, std::string> names;
  records_.close();
  std::uint64_t until = boot_now_ns() + kAnswerMs * 1'000'000ull;
  Row row;
  std::size_t have = 0;
  while (names.size() < kMaxNames && boot_now_ns() < until) {
    pollfd ready{answers_.reader(), POLLIN, 0};
    if (::poll(&ready, 1, kAnswerMs) <= 0) break;
    ssize_t got =
        ::read(answers_.reader(), reinterpret_cast<char*>(&row) + have, sizeof row - have);
    if (got <= 0) break;
    have += static_cast<std::size_t>(got);
    if (have < sizeof row) continue;
    have = 0;
    std::string name(row.name.data(), ::strnlen(row.name.data(), row.name.size()));
    Endpoint server;
    server.address.bytes = row.address;
    server.port = row.port;
    if (is_name(name)) names.emplace(server, std::move(name));
  }
  child_.send(SIGKILL);
  (void)child_.wait();
  return names;
}

}  // namespace weir
