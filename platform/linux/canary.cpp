// See canary.h. Four processes: the caller; the sink, in a network namespace of its own; the mover,
// which enters the cgroup, so that the trier is a child of one that is watched; and the trier.
#include "platform/linux/canary.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <functional>
#include <optional>

#include "platform/files/fd.h"
#include "platform/linux/boot_clock.h"
#include "platform/linux/bpf/weir_abi.h"
#include "platform/linux/canary_hooks.h"
#include "platform/linux/kernel_part.h"
#include "platform/linux/veth.h"

namespace weir {
namespace {

using State = TriedControl::State;

constexpr int kPatienceMs = 5000;       // for all of it
constexpr int kSoonMs = 1000;           // until one thing is seen
constexpr useconds_t kLookUs = 2000;    // between two looks
constexpr useconds_t kLateUs = 20'000;  // what was to be refused would have arrived by then
constexpr std::uint16_t kSinkPort = 9;  // discard (RFC 863)
constexpr std::size_t kPayload = 32;    // bytes of a datagram
constexpr std::uint32_t kMayPass = 2;   // datagrams that the account has room for; one more is sent
constexpr std::uint64_t kLeaseNs = 10'000'000'000;
constexpr uid_t kNobody = 65534;
constexpr char kWaiter[] = "/bin/cat";  // runs until its input ends

struct Counts {  // datagrams of each family that arrived
  std::uint32_t four = 0, six = 0;
};

// What the trier has seen, as it goes through a pipe.
struct Seen {
  State fork = State::untried, exec = State::untried, exit = State::untried,
        sock_create = State::untried, egress = State::untried, ingress = State::untried,
        release = State::untried;
  TriedHooks hooks;
  std::uint32_t arrived4 = 0, arrived6 = 0;
  char problem[128] = {};
};

// Two canaries at once have two.
std::uint32_t own_number() {
  return kFirstCanary | (static_cast<std::uint32_t>(::getpid()) & 0xffff);
}

State is(bool works) {
  return works ? State::works : State::fails;
}

bool await(const std::function<bool()>& holds) {
  for (useconds_t waited = 0; waited < kSoonMs * 1000; waited += kLookUs) {
    if (holds()) return true;
    ::usleep(kLookUs);
  }
  return false;
}

int datagram_socket(int family, const char* address, std::uint16_t port) {
  const int line = ::socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_in four{};
  four.sin_family = AF_INET;
  four.sin_port = htons(port);
  ::inet_pton(AF_INET, address, &four.sin_addr);
  sockaddr_in6 six{};
  six.sin6_family = AF_INET6;
  six.sin6_port = four.sin_port;
  ::inet_pton(AF_INET6, address, &six.sin6_addr);
  const int bound = family == AF_INET
                        ? ::bind(line, reinterpret_cast<sockaddr*>(&four), sizeof four)
                        : ::bind(line, reinterpret_cast<sockaddr*>(&six), sizeof six);
  if (bound == 0) return line;
  ::close(line);
  return -1;
}

void send_to_sink(int line, int family) {
  const std::array<char, kPayload> payload{};
  sockaddr_in four{};
  four.sin_family = AF_INET;
  four.sin_port = htons(kSinkPort);
  ::inet_pton(AF_INET, kFarEnd.address4, &four.sin_addr);
  sockaddr_in6 six{};
  six.sin6_family = AF_INET6;
  six.sin6_port = four.sin_port;
  ::inet_pton(AF_INET6, kFarEnd.address6, &six.sin6_addr);
  const auto* to = family == AF_INET ? reinterpret_cast<const sockaddr*>(&four)
                                     : reinterpret_cast<const sockaddr*>(&six);
  (void)!::sendto(line, payload.data(), payload.size(), MSG_DONTWAIT, to,
                  family == AF_INET ? sizeof four : sizeof six);
}

// ---- the sink -----------------------------------------------------------------------------------

// Takes and answers what arrives, until its line ends; says how much that was whenever it is asked.
[[noreturn]] void be_sink(int line) {
  char word = 0;
  if (::unshare(CLONE_NEWNET) != 0 || ::send(line, "n", 1, 0) != 1) ::_exit(1);
  if (::recv(line, &word, 1, 0) != 1) ::_exit(1);
  const bool up = raise_veth(kFarEnd).has_value();
  const int sockets[] = {up ? datagram_socket(AF_INET, kFarEnd.address4, kSinkPort) : -1,
                         up ? datagram_socket(AF_INET6, kFarEnd.address6, kSinkPort) : -1};
  word = sockets[0] >= 0 && sockets[1] >= 0 ? 'r' : 'x';
  if (::send(line, &word, 1, 0) != 1) ::_exit(1);
  Counts counts;
  for (;;) {
    pollfd wanted[] = {{line, POLLIN, 0}, {sockets[0], POLLIN, 0}, {sockets[1], POLLIN, 0}};
    ::poll(wanted, 3, kPatienceMs);
    for (int n = 0; n < 2; n++) {
      sockaddr_storage from{};
      socklen_t size = sizeof from;
      std::array<char, 256> bytes{};
      while (::recvfrom(sockets[n], bytes.data(), bytes.size(), MSG_DONTWAIT,
                        reinterpret_cast<sockaddr*>(&from), &size) > 0) {
        ++(n == 0 ? counts.four : counts.six);
        (void)!::sendto(sockets[n], "a", 1, MSG_DONTWAIT, reinterpret_cast<sockaddr*>(&from), size);
      }
    }
    if (wanted[0].revents == 0) continue;
    if (::recv(line, &word, 1, MSG_DONTWAIT) != 1) ::_exit(0);
    if (::send(line, &counts, sizeof counts, 0) != sizeof counts) ::_exit(1);
  }
}

Counts counts_of(int sink) {
  Counts counts;
  if (::send(sink, "c", 1, 0) == 1) (void)!::recv(sink, &counts, sizeof counts, 0);
  return counts;
}

// ---- the trier ----------------------------------------------------------------------------------

struct Tables {
  Fd tasks, sockets, verdicts, accounts, state;

  static std::optional<Tables> open(const std::string& pin_dir) {
    const auto one = [&](const char* name) {
      return Fd(bpf_obj_get(fmt::format("{}/weir/{}/maps/{}", pin_dir, WEIR_LAYOUT, name).c_str()));
    };
    Tables all{one("tasks"), one("sockets"), one("verdicts"), one("accounts"), one("state")};
    if (!all.tasks || !all.sockets || !all.verdicts || !all.accounts || !all.state) return {};
    return all;
  }
  std::optional<weir_task> task(pid_t pid) const {
    const auto key = static_cast<std::uint32_t>(pid);
    weir_task found{};
    if (bpf_map_lookup_elem(tasks.get(), &key, &found)) return std::nullopt;
    return found;
  }
  std::optional<weir_socket> socket(int line) const {
    weir_socket found{};
    if (bpf_map_lookup_elem(sockets.get(), &line, &found)) return std::nullopt;
    return found;
  }
  weir_state now() const {
    const std::uint32_t zero = 0;
    weir_state found{};
    (void)bpf_map_lookup_elem(state.get(), &zero, &found);
    return found;
  }
};

// A program of another user's: its start and its end are seen in the table of tasks.
void try_programs(const Tables& tables, Seen& seen) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return;
  Fd reader(ends[0]), writer(ends[1]);
  const pid_t waiter = ::fork();
  if (waiter == 0) {
    ::dup2(reader.get(), STDIN_FILENO);
    if (::setresuid(kNobody, kNobody, kNobody) == 0) ::execl(kWaiter, kWaiter, nullptr);
    ::_exit(127);
  }
  if (waiter < 0) return;
  seen.exec = is(await([&] {
    const auto task = tables.task(waiter);
    return task && task->uid == kNobody;
  }));
  writer.close();
  ::waitpid(waiter, nullptr, 0);
  // Who was never in the table leaves it by no program.
  if (seen.exec == State::works) seen.exit = is(await([&] { return !tables.task(waiter); }));
}

// An account of kMayPass datagrams for this socket alone.
bool give_account(const Tables& tables, const weir_socket& socket, std::uint64_t cookie,
                  std::uint64_t bytes) {
  const weir_account_key key{WEIR_EXCEPTIONS, WEIR_PER_PERSON_DEST, socket.person, own_number()};
  weir_account account{};
  account.word = WEIR_MOST_GRANTED - bytes;
  account.until_ns = boot_now_ns() + kLeaseNs;
  weir_verdict verdict{};
  verdict.limits = 1ull << WEIR_EXCEPTIONS;
  verdict.generation = tables.now().generation;
  verdict.exception = own_number();
  return bpf_map_update_elem(tables.accounts.get(), &key, &account, BPF_ANY) == 0 &&
         bpf_map_update_elem(tables.verdicts.get(), &cookie, &verdict, BPF_ANY) == 0;
}

void take_account(const Tables& tables, const weir_socket& socket) {
  const weir_account_key key{WEIR_EXCEPTIONS, WEIR_PER_PERSON_DEST, socket.person, own_number()};
  (void)bpf_map_delete_elem(tables.accounts.get(), &key);
}

struct Family {
  int family;
  const char* own;
  std::size_t headers;
  std::uint32_t Counts::*count;
};

// One datagram more than the account has room for; what arrived says whether it was bound.
void try_socket(const Tables& tables, int sink, const Family& how, Seen& seen,
                std::uint32_t& arrived) {
  Fd line(datagram_socket(how.family, how.own, 0));
  if (!line) return;
  const auto owner = tables.socket(line.get());
  const auto self = tables.task(::getpid());
  const bool owned = owner && self && owner->tree == self->tree;
  if (seen.sock_create != State::fails) seen.sock_create = is(owned);
  std::uint64_t cookie = 0;
  socklen_t size = sizeof cookie;
  if (::getsockopt(line.get(), SOL_SOCKET, SO_COOKIE, &cookie, &size) != 0) return;
  const weir_socket whose = owner.value_or(weir_socket{});
  if (!give_account(tables, whose, cookie, kMayPass * (kPayload + how.headers))) return;
  for (std::uint32_t n = 0; n <= kMayPass; n++) send_to_sink(line.get(), how.family);
  // Had the engine its say about this socket by now, this would prove nothing.
  weir_verdict verdict{};
  const bool ours = bpf_map_lookup_elem(tables.verdicts.get(), &cookie, &verdict) == 0 &&
                    verdict.exception == own_number();
  (void)await([&] { return counts_of(sink).*how.count >= kMayPass; });
  ::usleep(kLateUs);
  arrived = counts_of(sink).*how.count;
  if (arrived == kMayPass && ours && seen.egress != State::fails) seen.egress = State::works;
  if (arrived > kMayPass && ours) seen.egress = State::fails;
  char answer = 0;
  if (seen.ingress != State::fails && arrived > 0 &&
      await([&] { return ::recv(line.get(), &answer, 1, MSG_DONTWAIT) == 1; })) {
    const auto after = tables.socket(line.get());
    seen.ingress = is(after && after->bytes_in > 0);
  }
  take_account(tables, whose);
  line.close();
  // A socket that no program saw send has nothing to be forgotten.
  if (ours && seen.egress == State::works && seen.release != State::fails)
    seen.release = is(bpf_map_lookup_elem(tables.verdicts.get(), &cookie, &verdict) != 0);
}

[[noreturn]] void be_trier(const std::string& pin_dir, int sink, pid_t sink_pid, int result) {
  Seen seen;
  const auto end = [&](const std::string& problem) {
    std::memcpy(seen.problem, problem.data(), std::min(problem.size(), sizeof seen.problem - 1));
    ::_exit(::write(result, &seen, sizeof seen) == sizeof seen ? 0 : 1);
  };
  const auto tables = Tables::open(pin_dir);
  if (!tables) end("nothing of Weir is pinned in " + pin_dir);
  seen.fork = is(tables->task(::getpid()).has_value());
  try_programs(*tables, seen);
  char word = 0;
  if (::recv(sink, &word, 1, 0) != 1 || ::unshare(CLONE_NEWNET) != 0)
    end("no network namespace of our own");
  if (const auto self = tables->task(::getpid()))
    seen.hooks = try_hooks(pin_dir, tables->sockets.get(), self->tree);
  if (auto made = make_veth(sink_pid); !made) end(made.error().sentence);
  if (auto up = raise_veth(kNearEnd); !up) end(up.error().sentence);
  if (::send(sink, "s", 1, 0) != 1 || ::recv(sink, &word, 1, 0) != 1 || word != 'r')
    end("the sink is not there");
  if (tables->now().isolated_until != 0) end("this host is isolated");
  if (tables->now().observed_until > boot_now_ns())
    end("this host was released: nothing is refused");
  constexpr Family kFamilies[] = {{AF_INET, kNearEnd.address4, 28, &Counts::four},
                                  {AF_INET6, kNearEnd.address6, 48, &Counts::six}};
  try_socket(*tables, sink, kFamilies[0], seen, seen.arrived4);
  try_socket(*tables, sink, kFamilies[1], seen, seen.arrived6);
  end("");
  ::_exit(1);
}

// ---- the caller ---------------------------------------------------------------------------------

std::vector<TriedControl> told(const Seen& seen) {
  const std::string arrived =
      fmt::format("room for {0} datagrams: of {1} by IPv4 {2} arrived, of {1} by IPv6 {3}",
                  kMayPass, kMayPass + 1, seen.arrived4, seen.arrived6);
  std::vector<TriedControl> all = {
      {"weir_fork", seen.fork, "a process that was started has a tree"},
      {"weir_exec", seen.exec, "a program that was started is known by its user"},
      {"weir_exit", seen.exit, "a process that ended is forgotten"},
      {"weir_sock_create", seen.sock_create, "a socket has its owner's tree"},
      {"weir_egress", seen.egress, arrived},
      {"weir_ingress", seen.ingress, "an answer was counted"},
      {"weir_sock_release", seen.release, "a socket that closed left no verdict"}};
  for (TriedControl& one : all)
    if (one.state == State::untried && seen.problem[0] != '\0') one.detail = seen.problem;
  const TriedHooks& hooks = seen.hooks;
  const std::string owned = "a socket that was given an address has its owner's tree";
  const TriedControl others[] = {
      {"weir_connect4", hooks.connect4, owned},
      {"weir_connect6", hooks.connect6, owned},
      {"weir_sendmsg4", hooks.sendmsg4, owned},
      {"weir_sendmsg6", hooks.sendmsg6, owned},
      {"weir_setsockopt", hooks.setsockopt, "a way past the queues is refused"},
      {"weir_wake", hooks.wake, "a stream that was stopped early was found and pushed"},
      {kLsmProgram, hooks.family, "a socket of no family is refused by us"}};
  all.insert(all.end(), std::begin(others), std::end(others));
  return all;
}

class Child {  // killed and waited for with its owner
 public:
  explicit Child(pid_t pid) : pid_(pid) {}
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_;
};

}  // namespace

Result<std::vector<TriedControl>> try_controls(const std::string& pin_dir, int cgroup_procs) {
  int sink_line[2], results[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sink_line) != 0 ||
      ::pipe2(results, O_CLOEXEC) != 0)
    return fail("no descriptors left for a try of the controls");
  Fd near(sink_line[0]), far(sink_line[1]), reader(results[0]), writer(results[1]);
  const Child sink(::fork());
  if (sink.pid() == 0) {
    near.close();
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    be_sink(far.get());
  }
  const Child mover(sink.pid() < 0 ? -1 : ::fork());
  if (mover.pid() == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::write(cgroup_procs, "0", 1) != 1) ::_exit(1);
    const pid_t trier = ::fork();
    if (trier == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      far.close();
      be_trier(pin_dir, near.get(), sink.pid(), writer.get());
    }
    ::waitpid(trier, nullptr, 0);
    ::_exit(0);
  }
  far.close();
  near.close();
  writer.close();
  if (mover.pid() < 0) return fail("no process for a try of the controls");
  pollfd wanted{reader.get(), POLLIN, 0};
  Seen seen;
  if (::poll(&wanted, 1, kPatienceMs) != 1 ||
      ::read(reader.get(), &seen, sizeof seen) != sizeof seen)
    return fail("the controls could not be tried: the process that tries them did not answer");
  seen.problem[sizeof seen.problem - 1] = '\0';
  if (seen.problem[0] != '\0' && seen.fork == State::untried)
    return fail(fmt::format("the controls could not be tried: {}", seen.problem));
  return told(seen);
}

}  // namespace weir
