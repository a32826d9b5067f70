// The agent's side of what persons ask: see asked.h. Opens files and hands on what a child without
// rights has made; parses nothing but tables of its own.
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "agent/engine/seal.h"
#include "agent/guard/descriptors.h"
#include "agent/guard/hold_answer.h"
#include "agent/guard/keeping.h"
#include "agent/guard/messages.h"
#include "agent/run/asked.h"
#include "agent/run/exec_served.h"
#include "agent/run/state_dir.h"
#include "core/base/command_id.h"
#include "core/base/fixed_text.h"
#include "platform/files/passing.h"
#include "platform/files/small_file.h"
#include "platform/linux/boot_clock.h"
#include "platform/linux/pinned_tables.h"

namespace weir {
namespace {

constexpr std::uint32_t kFailed = 1, kNotAllowed = 4;
constexpr int kAnswerTries = 500, kAnswerTry_us = 2000;  // the guard takes an answer at once
constexpr int kSendMs = 2000;      // a caller that does not read loses its answer
constexpr int kAnswerMs = 20'000;  // 128 MB of reports are read in a few seconds

struct Head {  // of what the child writes, then both texts
  std::uint32_t status = 0, text = 0, record = 0;
};

Fd open_at(int folder, const char* name) {
  return Fd(::openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
}

std::vector<std::uint8_t> read_table(const Fd& file, std::size_t size) {
  std::vector<std::uint8_t> bytes(size + 1);
  const ssize_t got = file ? ::pread(file.get(), bytes.data(), bytes.size(), 0) : 0;
  bytes.resize(static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  return bytes;
}

// It works for a person: the agent's own work comes first, and where memory is short it goes before
// everything else. Without effect where the system does not let it be said.
void stand_back() {
  (void)::setpriority(PRIO_PROCESS, 0, 10);
  Fd score(::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC));
  if (score) (void)!::write(score.get(), "1000", 4);
}

[[noreturn]] void read_and_exit(const AskFacts& facts, std::array<Fd, 2>& reports, int answer) {
  stand_back();
  ::dup2(answer, fds::kRecord);  // a number that the seal lets it write to
  std::array<int, 2> files{};
  for (std::size_t n = 0; n < files.size(); ++n) {
    files[n] = reports[n] ? fds::kRecord + 1 + static_cast<int>(n) : -1;
    if (reports[n]) files[n] = ::fcntl(reports[n].get(), F_DUPFD, 64);
  }
  for (std::size_t n = 0; n < files.size(); ++n)
    if (files[n] >= 0) files[n] = ::dup2(files[n], fds::kRecord + 1 + static_cast<int>(n));
  ::syscall(SYS_close_range, 0, fds::kRecord - 1, 0);
  ::syscall(SYS_close_range, fds::kRecord + 3, ~0u, 0);
  if (!seal_engine(kEngineUser)) ::_exit(1);
  AskAnswer made = answer_asked(facts, files);
  made.text.resize(std::min(made.text.size(), kMaxAskText));
  const Head head{made.status, static_cast<std::uint32_t>(made.text.size()),
                  static_cast<std::uint32_t>(made.record.size())};
  const bool written =
      made.record.size() <= wire::kMaxRequestBytes &&
      write_all(fds::kRecord, {reinterpret_cast<const std::uint8_t*>(&head), sizeof head}) &&
      write_all(fds::kRecord, bytes_of(made.text)) &&
      write_all(fds::kRecord, bytes_of(made.record));
  ::_exit(written ? 0 : 1);
}

Result<AskAnswer> read_apart(const AskFacts& facts, int state) {
  // The newer first: renamed in between it is read twice, which is no harm, and never not at all.
  std::array<Fd, 2> reports;
  reports[1] = open_at(state, "reports.jsonl");
  reports[0] = open_at(state, "reports.jsonl.1");
  Result<Pipe> pipe = Pipe::make();
  if (!pipe) return tl::unexpected(pipe.error());
  Result<Process> child = Process::fork([&] { read_and_exit(facts, reports, pipe->writer()); });
  if (!child) return tl::unexpected(child.error());
  pipe->close_writer();
  std::string all;
  char piece[65536];
  for (pollfd more{pipe->reader(), POLLIN, 0}; ::poll(&more, 1, kAnswerMs) == 1;) {
    const ssize_t got = ::read(pipe->reader(), piece, sizeof piece);
    if (got <= 0 || all.size() > sizeof(Head) + kMaxAskText + wire::kMaxRequestBytes) break;
    all.append(piece, static_cast<std::size_t>(got));
  }
  child->send(SIGKILL);
  (void)child->wait();
  Head head;
  if (all.size() < sizeof head) return fail("the reports could not be read");
  std::memcpy(&head, all.data(), sizeof head);
  if (all.size() != sizeof head + head.text + head.record || head.record > wire::kMaxRequestBytes)
    return fail("the reports could not be read whole");
  return AskAnswer{head.status, all.substr(sizeof head, head.text),
                   all.substr(sizeof head + head.text)};
}

bool send_all(int fd, const void* data, std::size_t size) {
  pollfd room{fd, POLLOUT, 0};
  if (::poll(&room, 1, kSendMs) != 1) return false;
  return ::send(fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL) == static_cast<ssize_t>(size);
}

void tell(int caller, std::uint32_t status, std::string_view text) {
  for (std::size_t at = 0; at < text.size(); at += kMostPiece)
    if (!send_all(caller, text.data() + at, std::min(kMostPiece, text.size() - at))) return;
  AskEnd end;
  end.status = status;
  (void)send_all(caller, &end, sizeof end);
}

std::string new_id() {
  CommandIdBytes id{};
  if (::getrandom(id.data(), id.size(), 0) != static_cast<ssize_t>(id.size())) return "";
  return text_of_command_id(id);
}

// To the guard, which does not read it.
bool hand_on(const std::string& record, int requests) {
  Fd memory = sealed_memory("weir-request", bytes_of(record));
  if (!memory) return false;
  const auto size = static_cast<std::uint32_t>(record.size());
  return send_with(requests, {reinterpret_cast<const std::uint8_t*>(&size), sizeof size},
                   memory.get(), MSG_DONTWAIT | MSG_NOSIGNAL);
}

std::optional<std::vector<GrantNow>> grants_of(const ExceptionTable& table,
                                               const std::string& pin_dir) {
  std::vector<KernelException> held;
  for (const HeldLease& lease : table.in_force())
    held.push_back({lease.number, lease.what.person, lease.what.bytes, lease.until_boot_ns});
  if (pin_dir.empty()) return std::nullopt;
  Result<std::vector<weir_account>> accounts = read_grants(pin_dir, held);
  if (!accounts) return std::nullopt;
  std::vector<GrantNow> grants;
  for (std::size_t n = 0; n < held.size(); ++n) {
    const weir_account& account = (*accounts)[n];
    grants.push_back(
        {held[n].number, left_of(account), account.until_ns > boot_now_ns(), is_used_up(account)});
  }
  return grants;
}

std::uint64_t host_of(int state) {
  const std::vector<std::uint8_t> text =
      read_table(open_at(state, kKeptFileNames[2]), kMaxTrustBytes);
  const Result<PolicyTrust> trust = read_trust(text_of(text));
  return trust ? mark_of(trust->host) : 0;
}

std::vector<KernelHold> holds_of(const AskCaller& who, const AskServer& server) {
  std::vector<KernelHold> holds;
  if (!server.pin_dir.empty()) holds = read_holds(server.pin_dir);
  std::erase_if(holds,
                [&](const KernelHold& one) { return !who.root && one.flow.person != who.person; });
  return holds;
}

// Only what waits of their own, by the kernel's table; the guard looks once more. What they say
// goes on unread.
void answer_hold(int caller, const AskMessage& message, const AskCaller& who,
                 const AskServer& server) {
  const std::string_view id(message.report.data());
  const auto waits = [&]() -> std::optional<HeldGroup> {
    for (const HeldGroup& one : grouped(holds_of(who, server)))
      if (one.id == id) return one;
    return std::nullopt;
  };
  const std::optional<HeldGroup> found = waits();
  if (!found)
    return tell(caller, kFailed,
                "nothing that you may answer waits under that id; it may have ended. "
                "`weir status` lists what waits\n");
  HoldAnswer answer;
  answer.magic = kHoldAnswerMagic;
  answer.account = found->place.account;
  answer.tree = found->place.tree;
  answer.destination = found->place.destination;
  answer.by = who.person;
  answer.root = who.root ? 1 : 0;
  answer.size = message.reason_size;
  Fd memory = sealed_memory("weir-answer",
                            bytes_of(std::string_view(message.reason.data(), message.reason_size)));
  if (server.answers < 0 || !memory ||
      !send_with(server.answers, {reinterpret_cast<const std::uint8_t*>(&answer), sizeof answer},
                 memory.get(), MSG_DONTWAIT | MSG_NOSIGNAL))
    return tell(caller, kFailed, "the agent takes no answer now; try again\n");
  for (int n = 0; n < kAnswerTries; ++n) {
    if (!waits()) return tell(caller, 0, "it goes on\n");
    ::usleep(kAnswerTry_us);
  }
  tell(caller, kNotAllowed,
       "the answer was not taken: this rule asks for an administrator's approval "
       "(`weir request`)\n");
}

}  // namespace

void serve_asked(Fd caller, const AskMessage& message, const AskCaller& who,
                 const AskServer& server) {
  if (message.kind == AskKind::challenge || message.kind == AskKind::release) {
    const AskAnswer answer = answer_release(message, server);
    return tell(caller.get(), answer.status, answer.text);
  }
  if (message.kind == AskKind::answer) return answer_hold(caller.get(), message, who, server);
  const std::uint32_t person = who.person;
  const bool asks = message.kind == AskKind::request;
  if (asks && server.requests < 0)
    return tell(caller.get(), kNotAllowed,
                "this host reports to no collector: there is nobody who could approve it\n");
  AskFacts facts;
  facts.message = message;
  facts.person = person;
  facts.now_wall_s = wall_now_ns() / 1'000'000'000;
  facts.id = new_id();
  // One request at a time: what is read here is what is written below.
  Fd lock(asks ? ::openat(server.state, "requests.lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW,
                          0600)
               : -1);
  if (asks && (!lock || ::flock(lock.get(), LOCK_EX) != 0))
    return tell(caller.get(), kFailed, "the agent can't write to its folder\n");
  facts.now_boot_ns = boot_now_ns();
  if (message.kind == AskKind::holds) facts.holds = holds_of(who, server);
  facts.asked = AskedTable::read(read_table(open_at(server.state, "requests"), sizeof(AskedTable)));
  Result<ExceptionTable> held = ExceptionTable::read(
      read_table(open_at(server.state, kKeptFileNames[3]), sizeof(ExceptionTable)));
  facts.exceptions = held ? *held : ExceptionTable::none();
  facts.grants = grants_of(facts.exceptions, server.pin_dir);
  facts.host = host_of(server.state);
  if (asks && facts.asked.of_day(person, facts.now_wall_s) >= kMaxRequestsADay)
    return tell(caller.get(), kNotAllowed,
                fmt::format("you have asked {} times in a day, which is as often as one may\n",
                            kMaxRequestsADay));
  Result<AskAnswer> answer = read_apart(facts, server.state);
  if (!answer) return tell(caller.get(), kFailed, answer.error().sentence + "\n");
  if (answer->record.empty()) return tell(caller.get(), answer->status, answer->text);
  AskedRequest one;
  put_name(one.id, facts.id);
  put_name(one.report, message.report.data());
  one.person = person;
  one.host = facts.host;
  one.duration_s = message.duration_s;
  one.bytes = message.bytes;
  one.at_wall_s = facts.now_wall_s;
  const std::string before(text_of(facts.asked.bytes()));
  facts.asked.add(one);
  if (Result<void> kept =
          replace_file(server.state, "requests", std::string(text_of(facts.asked.bytes())));
      !kept)
    return tell(caller.get(), kFailed, kept.error().sentence + "\n");
  if (!hand_on(answer->record, server.requests)) {
    (void)replace_file(server.state, "requests", before);  // nobody was asked
    return tell(caller.get(), kFailed, "the agent takes no request now; try again\n");
  }
  tell(caller.get(), answer->status, answer->text);
}

}  // namespace weir
