// What `weir run` does for a host that reports to a collector: see collector.h.
#include "agent/run/collector.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <netdb.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

#include "agent/engine/seal.h"
#include "agent/guard/compiled.h"
#include "agent/run/resolvers.h"
#include "agent/uplink/identity.h"
#include "agent/uplink/user.h"
#include "platform/files/passing.h"
#include "platform/files/small_file.h"
#include "platform/linux/boot_clock.h"
#include "platform/linux/boot_id.h"
#include "platform/linux/kernel_part.h"

namespace weir {
namespace {

constexpr std::size_t kMaxAddresses = 32;  // of one door: a name with more has some left out
constexpr std::uint16_t kDnsPort = 53;
constexpr const char* kBefore = "policy.before";
// A collector that moved is found within this; names that could not be asked are asked again
// sooner.
constexpr unsigned kResolveAgainS = 300, kResolveRetryS = 10;
constexpr int kFirstAddressesMs = 3000;  // the start waits no longer for a name

tl::unexpected<Error> failed(const std::string& what) {
  return fail(fmt::format("{}: {}", what, std::strerror(errno)));
}

struct Found {  // what the resolving child tells: both doors
  std::uint32_t count = 0;
  std::uint32_t pad = 0;
  std::array<std::array<std::uint8_t, 16>, 2 * kMaxAddresses> address{};
  std::array<std::uint16_t, 2 * kMaxAddresses> port{};
};

// A folder of the state, made if it is not there, with this owner and mode. A unit has made it
// right: there nothing may be given away.
Result<Fd> folder_of(int state, const char* name, uid_t user, gid_t group, mode_t mode) {
  if (::mkdirat(state, name, 0700) != 0 && errno != EEXIST) return failed(name);
  Fd folder(::openat(state, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  struct stat now {};
  if (!folder || ::fstat(folder.get(), &now) != 0) return failed(name);
  if (now.st_uid == user && now.st_gid == group && (now.st_mode & 07777) == mode) return folder;
  if (::fchown(folder.get(), user, group) != 0 || ::fchmod(folder.get(), mode) != 0)
    return failed(name);
  return folder;
}

// ---- the child that asks for addresses: no rights, and nothing of ours but a socket and a folder
// --

void add_addresses(const std::string& place, Found& found) {
  std::size_t colon = place.rfind(':');
  if (colon == std::string::npos) return;
  std::string host = place.substr(0, colon), port = place.substr(colon + 1);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']')
    host = host.substr(1, host.size() - 2);
  addrinfo hints{}, *all = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  if (::getaddrinfo(host.c_str(), port.c_str(), &hints, &all) != 0) return;
  std::size_t left = kMaxAddresses;
  for (addrinfo* one = all; one != nullptr && left > 0; one = one->ai_next, --left) {
    IpAddress address;
    std::uint16_t number = 0;
    if (one->ai_family == AF_INET) {
      const auto* in = reinterpret_cast<const sockaddr_in*>(one->ai_addr);
      const auto* bytes = reinterpret_cast<const std::uint8_t*>(&in->sin_addr);
      address.bytes.fill(0);
      address.bytes[10] = address.bytes[11] = 0xff;
      std::copy_n(bytes, 4, address.bytes.begin() + 12);
      number = ntohs(in->sin_port);
    } else if (one->ai_family == AF_INET6) {
      const auto* in = reinterpret_cast<const sockaddr_in6*>(one->ai_addr);
      std::copy_n(in->sin6_addr.s6_addr, 16, address.bytes.begin());
      number = ntohs(in->sin6_port);
    } else {
      continue;
    }
    found.address[found.count] = address.bytes;
    found.port[found.count++] = number;
  }
  ::freeaddrinfo(all);
}

[[noreturn]] void resolve_for_ever(const std::string& collector, int identity, int told) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  for (int signal : {SIGINT, SIGTERM, SIGHUP}) ::signal(signal, SIG_DFL);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  if (::setgroups(0, nullptr) != 0 || ::setresgid(kUplinkUser, kUplinkUser, kUplinkUser) != 0 ||
      ::setresuid(kUplinkUser, kUplinkUser, kUplinkUser) != 0 || ::setuid(0) == 0 ||
      ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
    ::_exit(1);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  for (;;) {
    Found found;
    Result<std::optional<Identity>> identity_now = read_identity(identity);
    const HostFacts facts = identity_now && *identity_now ? (*identity_now)->host : HostFacts{};
    add_addresses(collector.empty() ? facts.agent_address : collector, found);
    const bool has_agents_door = found.count > 0;
    add_addresses(facts.door_address, found);  // renewals
    if (found.count > 0 && ::send(told, &found, sizeof found, MSG_NOSIGNAL) < 0) ::_exit(0);
    pollfd end{told, 0, 0};
    ::poll(&end, 1, static_cast<int>(has_agents_door ? kResolveAgainS : kResolveRetryS) * 1000);
    if (end.revents != 0) ::_exit(0);
  }
}

std::vector<CagePlace> places_of(const Found& found) {
  std::vector<CagePlace> places;
  for (std::uint32_t n = 0; n < std::min<std::size_t>(found.count, found.port.size()); ++n)
    places.push_back({{IpAddress{found.address[n]}, found.port[n]}, CagePlace::Protocol::tcp});
  std::vector<IpAddress> resolvers = host_resolvers(true);
  if (resolvers.empty()) resolvers.push_back(*IpAddress::parse("127.0.0.1"));  // resolv.conf(5)
  resolvers.resize(std::min(resolvers.size(), kMaxHostResolvers));
  for (const IpAddress& resolver : resolvers)
    for (CagePlace::Protocol protocol : {CagePlace::Protocol::tcp, CagePlace::Protocol::udp})
      places.push_back({{resolver, kDnsPort}, protocol});
  return places;
}

}  // namespace

bool is_enrolled(const std::string& state_dir) {
  return ::access((state_dir + "/trust").c_str(), R_OK) == 0 &&
         ::access((state_dir + "/identity/host.json").c_str(), F_OK) == 0;
}

Result<CollectorSide> CollectorSide::start(const CollectorStart& start) {
  Result<std::string> root = start.cgroup.empty() ? cgroup2_root() : start.cgroup;
  if (!root) return tl::unexpected(root.error());
  Result<ChildCgroup> cgroup = agent_cgroup(*root, "weir-uplink-");
  if (!cgroup) return tl::unexpected(cgroup.error());
  Result<UplinkCage> cage = UplinkCage::load(cgroup->path());
  if (!cage) return tl::unexpected(cage.error());
  CollectorSide side(start, std::move(*cgroup), std::move(*cage));
  if (auto opened = side.open_folders(); !opened) return tl::unexpected(opened.error());
  if (auto resolving = side.start_resolving(); !resolving) return tl::unexpected(resolving.error());
  pollfd first{side.addresses_.get(), POLLIN, 0};
  if (::poll(&first, 1, kFirstAddressesMs) > 0) side.take_addresses();
  return side;
}

Result<void> CollectorSide::open_folders() {
  const std::string& dir = start_.state_dir;
  folder_ = Fd(::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder_) return failed(dir);
  // Set-group-id: what the engine makes there, the uplink may read.
  Result<Fd> spool_folder =
      folder_of(folder_.get(), "spool", start_.engine_user, kUplinkUser, 02750);
  Result<Fd> identity_folder = folder_of(folder_.get(), "identity", kUplinkUser, kUplinkUser, 0700);
  for (const Result<Fd>* one : {&spool_folder, &identity_folder})
    if (!*one) return tl::unexpected(one->error());
  spool = std::move(*spool_folder);
  identity = std::move(*identity_folder);
  spool_read = Fd(::openat(spool.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  constexpr int kPlain = O_CLOEXEC | O_NOFOLLOW;
  // Ours: who is to write it gets it open.
  acknowledged = Fd(::openat(folder_.get(), "acknowledged", O_RDWR | O_CREAT | kPlain, 0600));
  acknowledged_read = Fd(::openat(folder_.get(), "acknowledged", O_RDONLY | kPlain));
  if (!spool_read || !acknowledged || !acknowledged_read) return failed(dir + "/acknowledged");
  if (!open_trust()) return failed(dir + "/trust");
  news = Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  int pair[2];
  if (!news || ::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
    return failed("a line to the guard");
  kept_ = Fd(pair[0]);
  keep = Fd(pair[1]);
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
    return failed("a line for requests");
  requests_out = Fd(pair[0]);
  requests = Fd(pair[1]);
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
    return failed("a line for releases");
  releases_out = Fd(pair[0]);
  releases = Fd(pair[1]);
  return {};
}

Result<void> CollectorSide::start_resolving() {
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
    return failed("a line to the resolving child");
  addresses_ = Fd(pair[0]);
  Fd theirs(pair[1]);
  Result<Process> child = Process::fork([&] {
    addresses_.close();
    resolve_for_ever(start_.collector, identity.get(), theirs.get());
  });
  if (!child) return tl::unexpected(child.error());
  resolving_ = std::move(*child);
  return {};
}

void CollectorSide::take_addresses() {
  Found found;
  ssize_t got = ::recv(addresses_.get(), &found, sizeof found, MSG_DONTWAIT);
  if (got == 0) addresses_.close();  // it ended: what is let through stays
  if (got != sizeof found || found.count > found.port.size()) return;
  if (auto allowed = cage_.allow(places_of(found)); !allowed)
    fmt::print(stderr, "weir run: the uplink: {}\n", allowed.error().sentence);
}

Fd CollectorSide::open_kept() const {
  return Fd(::openat(folder_.get(), "policy", O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
}

Fd CollectorSide::open_before() const {
  return Fd(::openat(folder_.get(), kBefore, O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
}

namespace {

std::optional<KeptPolicy> head_of(const Fd& file) {
  KeptPolicy head;
  if (!file || ::pread(file.get(), &head, sizeof head, 0) != sizeof head ||
      head.magic != kKeptMagic)
    return std::nullopt;
  return head;
}

}  // namespace

std::optional<KeptPolicy> CollectorSide::kept_head() const {
  return head_of(open_kept());
}

Fd CollectorSide::open_trust() const {
  return Fd(::openat(folder_.get(), "trust", O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
}

Fd CollectorSide::open_done() const {
  return Fd(::openat(folder_.get(), kKeptFileNames[1], O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
}

Fd CollectorSide::open_exceptions() const {
  return Fd(::openat(folder_.get(), kKeptFileNames[3], O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
}

std::optional<bool> CollectorSide::keeps_on_exit() const {
  Fd file = open_kept();
  std::array<std::uint32_t, 2> head{};  // magic, keep_on_exit
  if (!file || ::pread(file.get(), head.data(), sizeof head, 0) != sizeof head ||
      (head[0] != kKeptMagic && head[0] != kFirstKeptMagic))
    return std::nullopt;
  return head[1] != 0;
}

bool CollectorSide::is_isolated() const {
  const Fd file = open_exceptions();
  std::vector<std::uint8_t> bytes(sizeof(ExceptionTable));
  const ssize_t got = file ? ::pread(file.get(), bytes.data(), bytes.size(), 0) : 0;
  if (got <= 0) return false;
  const Result<ExceptionTable> table =
      ExceptionTable::read(Bytes(bytes).first(static_cast<std::size_t>(got)));
  const Now now{wall_now_ns() / 1'000'000'000, boot_now_ns(), boot_id()};
  return table && (isolated_until(table->isolation, now, std::nullopt) != 0 ||
                   taken(table->blocks, now, nullptr).blocks != 0);
}

std::optional<bool> CollectorSide::take_kept() {
  KeptPolicy kept;
  Fd memory;
  ssize_t got = receive_with(kept_.get(), &kept, sizeof kept, memory);
  if (!memory) return std::nullopt;
  if (got == sizeof kept && kept.magic == kKeptMagic) return take_policy(kept, memory);
  KeepRequest request;
  if (got != sizeof request) return std::nullopt;
  std::memcpy(&request, &kept, sizeof request);
  if (request.magic == kKeepMagic) take_file(request, memory);
  return std::nullopt;
}

// Written whole or not at all, and on the disk before the guard is told so.
void CollectorSide::take_file(const KeepRequest& request, const Fd& memory) {
  const auto what = static_cast<std::size_t>(request.what);
  if (what == 0 || what >= kKeptFileNames.size() || request.size == 0 ||
      request.size > kMaxKeptFile)
    return;
  std::string text(request.size, '\0');
  Result<void> put =
      ::pread(memory.get(), text.data(), text.size(), 0) == static_cast<ssize_t>(text.size())
          ? replace_file(folder_.get(), kKeptFileNames[what], text)
          : fail("it did not come whole");
  if (!put)
    fmt::print(stderr, "weir run: {}/{}: can't be kept: {}\n", start_.state_dir,
               kKeptFileNames[what], put.error().sentence);
  KeepAnswer answer;
  answer.number = request.number;
  answer.kept = put ? 1 : 0;
  (void)!::send(kept_.get(), &answer, sizeof answer, MSG_DONTWAIT | MSG_NOSIGNAL);
}

// Another name for the same file: "policy" is there at every moment, also on a full disk.
void CollectorSide::keep_before() const {
  const std::string next = std::string(kBefore) + ".new";
  (void)::unlinkat(folder_.get(), next.c_str(), 0);
  if (::linkat(folder_.get(), "policy", folder_.get(), next.c_str(), 0) == 0)
    (void)::renameat(folder_.get(), next.c_str(), folder_.get(), kBefore);
}

std::optional<bool> CollectorSide::take_policy(const KeptPolicy& kept, const Fd& memory) {
  if (kept.offer.envelope_size > kMaxEnvelopeBytes) return std::nullopt;
  std::string text(sizeof kept + kept.offer.envelope_size, '\0');
  std::memcpy(text.data(), &kept, sizeof kept);
  auto whole = static_cast<ssize_t>(kept.offer.envelope_size);
  // The same one is written again when other keys count; then the one of before stays.
  const std::optional<KeptPolicy> last = kept_head();
  const bool same = last && last->digest == kept.digest;
  if (last && !same && !crashed_) keep_before();
  // After crashes the one before runs, and is written again when other keys count: no new policy.
  const std::optional<KeptPolicy> before = crashed_ ? head_of(open_before()) : std::nullopt;
  const bool still = before && before->digest == kept.digest;
  Result<void> put =
      ::pread(memory.get(), text.data() + sizeof kept, kept.offer.envelope_size, 0) == whole
          ? replace_file(folder_.get(), still ? kBefore : "policy", text)
          : fail("it did not come whole");
  if (!put) {
    fmt::print(stderr, "weir run: {}/policy: the policy in force can't be kept: {}\n",
               start_.state_dir, put.error().sentence);
    return std::nullopt;
  }
  if (still) return std::nullopt;
  return kept.keep_on_exit != 0;
}

void CollectorSide::end() {
  if (!resolving_) return;
  resolving_->send(SIGKILL);
  (void)resolving_->wait();
  CageCounters counted = cage_.counters();
  fmt::print(stderr, "weir run: the uplink sent {} packets, {} more were dropped\n", counted.passed,
             counted.dropped);
}

}  // namespace weir
