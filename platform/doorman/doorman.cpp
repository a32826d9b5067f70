// One thread accepts and lets in by turns; one reads the kernel's counters of who is inside.
#include "platform/doorman/doorman.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/tcp.h>
#include <netdb.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

namespace weir {
namespace {

constexpr int kBacklog = 4'096;
constexpr int kEvents = 256;  // taken from the kernel at once
constexpr int kTickMs = 10;
constexpr std::int64_t kPressedMs = 500;
constexpr int kNoDescriptorMs = 100;
// Of each connection (the kernel takes twice this): the library reads what is there in one go, and
// a ping of 17 bytes costs it some hundred.
constexpr int kSocketBytes = 128 << 10;
// Of those who are proven so many are looked at in a tick, in turn: two calls each, some 0.2 ms.
constexpr int kLooksPerTick = 100;
constexpr std::int64_t kLeaveMs = 2'000;  // after the peer's end, or after it was cut off
constexpr std::size_t kMaxPenalties = 4'096;

std::int64_t steady_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// "192.0.2.1" or "2001:db8::1", and the port.
std::pair<std::string, std::uint16_t> name_of(const sockaddr_storage& from) {
  char text[INET6_ADDRSTRLEN] = {};
  if (from.ss_family == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, &from, sizeof v4);
    ::inet_ntop(AF_INET, &v4.sin_addr, text, sizeof text);
    return {text, ntohs(v4.sin_port)};
  }
  sockaddr_in6 v6{};
  std::memcpy(&v6, &from, sizeof v6);
  if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr))
    ::inet_ntop(AF_INET, &v6.sin6_addr.s6_addr[12], text, sizeof text);
  else
    ::inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof text);
  return {text, ntohs(v6.sin6_port)};
}

// Whose turn it is: one IPv4 address, or one network of IPv6, in which a machine has 2^64.
std::string group_of(const std::string& address) {
  in6_addr v6{};
  if (::inet_pton(AF_INET6, address.c_str(), &v6) != 1) return address;
  std::fill(std::begin(v6.s6_addr) + 8, std::end(v6.s6_addr), std::uint8_t{0});
  char text[INET6_ADDRSTRLEN] = {};
  ::inet_ntop(AF_INET6, &v6, text, sizeof text);
  return text;
}

// gRPC writes "ipv4:192.0.2.1:5" and "ipv6:%5B2001:db8::1%5D:5"; here "192.0.2.1 5".
std::string key_of_peer(const std::string& peer) {
  const std::size_t kind = peer.find(':'), port = peer.rfind(':');
  if (kind == std::string::npos || port <= kind) return "";
  std::string host = peer.substr(kind + 1, port - kind - 1);
  for (const char* bracket : {"%5B", "%5D", "[", "]"})
    if (std::size_t at = host.find(bracket); at != std::string::npos)
      host.erase(at, std::strlen(bracket));
  if (host.starts_with("::ffff:")) host.erase(0, 7);
  return host.substr(0, host.find('%')) + " " + peer.substr(port + 1);
}

struct Addresses {
  ~Addresses() {
    if (first != nullptr) ::freeaddrinfo(first);
  }
  addrinfo* first = nullptr;
};

// All addresses: IPv6 that takes IPv4 too, where there is IPv6.
Result<int> listen_at(const std::string& address) {
  const std::size_t colon = address.rfind(':');
  std::string host = colon == std::string::npos ? "" : address.substr(0, colon);
  if (host.size() > 2 && host.front() == '[') host = host.substr(1, host.size() - 2);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  const std::string port = colon == std::string::npos ? "" : address.substr(colon + 1);
  std::vector<std::string> hosts{host};
  if (host == "0.0.0.0") hosts.insert(hosts.begin(), "::");
  if (host == "::") hosts.push_back("0.0.0.0");
  for (const std::string& one : hosts) {
    Addresses found;
    if (::getaddrinfo(one.c_str(), port.c_str(), &hints, &found.first) != 0) continue;
    const addrinfo& at = *found.first;
    int fd = ::socket(at.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const int on = 1, off = 0;
    ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    for (int buffer : {SO_RCVBUF, SO_SNDBUF})
      ::setsockopt(fd, SOL_SOCKET, buffer, &kSocketBytes, sizeof kSocketBytes);
    if (at.ai_family == AF_INET6) ::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (fd >= 0 && ::bind(fd, at.ai_addr, at.ai_addrlen) == 0 && ::listen(fd, kBacklog) == 0)
      return fd;
    if (fd >= 0) ::close(fd);
  }
  return fail(fmt::format("{}: the agents' door can't listen there", address));
}

}  // namespace

class Doorman::Watch {
 public:
  Watch(DoormanOptions options, int listener)
      : options_(std::move(options)),
        listener_(listener),
        epoll_(::epoll_create1(EPOLL_CLOEXEC)),
        wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    watch(listener_, EPOLLIN);
    watch(wake_, EPOLLIN);
  }
  ~Watch() {
    stop();
    for (const auto& [fd, visitor] : inside_) ::close(fd);
    ::close(epoll_);
    ::close(wake_);
  }

  std::uint16_t port() const {
    sockaddr_storage at{};
    socklen_t size = sizeof at;
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&at), &size);
    return name_of(at).second;
  }
  void start() {
    thread_ = std::thread([this] { run(); });
    looker_ = std::thread([this] { keep_looking(); });
  }
  void stop() {
    if (ending_.exchange(true)) return;
    const std::uint64_t one = 1;
    (void)!::write(wake_, &one, sizeof one);
    if (thread_.joinable()) thread_.join();
    if (looker_.joinable()) looker_.join();
    ::close(listener_);
    for (auto& [address, queue] : waiting_)
      for (const Waiting& one_of : queue) ::close(one_of.fd);
    waiting_.clear();
  }
  std::shared_ptr<Visitor> prove(const std::string& peer, std::uint32_t host);
  bool is_leaving(const std::string& peer) const;
  DoormanCounters counters() const {
    std::lock_guard lock(mutex_);
    return counters_;
  }

 private:
  struct Waiting {
    int fd;
    std::string key;
    std::int64_t since_ms;
  };

  void run();
  void keep_looking();
  void watch(int fd, std::uint32_t events) {
    epoll_event event{};
    event.events = events;
    event.data.fd = fd;
    ::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
  }
  void accept_all(std::int64_t now_ms);
  void let_in(std::int64_t now_ms);
  bool let_in(const std::string& address, const Waiting& next, std::int64_t now_ms);
  void look_at(std::int64_t now_ms);
  void punish(Visitor& visitor, std::int64_t now_ms);
  bool floods(const Visitor& visitor, std::int64_t now_ms) const;
  void cut(Visitor& visitor, std::int64_t now_ms);
  void forget(int fd);
  void drop_proof(Visitor& visitor);

  const DoormanOptions options_;
  const int listener_, epoll_, wake_;
  std::atomic<bool> ending_ = false;
  // The thread's own.
  std::map<std::string, std::deque<Waiting>> waiting_;  // by address
  std::string last_let_in_;                             // whose turn it was
  std::size_t waiting_count_ = 0;

  int looks_ = 0;  // the looking thread's

  mutable std::mutex mutex_;
  std::unordered_map<int, std::shared_ptr<Visitor>> inside_;  // by their second descriptor
  std::unordered_map<std::string, Visitor*> by_key_;
  std::unordered_map<std::string, std::size_t> unproven_;             // by address
  std::unordered_map<std::uint32_t, std::vector<Visitor*>> of_host_;  // oldest first
  std::unordered_map<std::uint32_t, std::int64_t> penalties_;         // until when, by host
  std::unordered_map<std::string, std::int64_t> suspects_;            // addresses, until when
  std::unordered_map<std::string, std::int64_t> pressed_;  // where others wait; since when
  std::vector<std::string> to_say_;
  DoormanCounters counters_;
  std::thread thread_, looker_;
};

void Doorman::Watch::run() {
  std::array<epoll_event, kEvents> events{};
  while (!ending_) {
    const int count = ::epoll_wait(epoll_, events.data(), kEvents, kTickMs);
    const std::int64_t now_ms = steady_ms();
    bool knocks = false;
    for (int n = 0; n < count; ++n) {
      const int fd = events[static_cast<std::size_t>(n)].data.fd;
      knocks = knocks || fd == listener_;
      if (fd == listener_ || fd == wake_) continue;
      std::lock_guard lock(mutex_);
      auto found = inside_.find(fd);
      if (found == inside_.end()) continue;
      if ((events[static_cast<std::size_t>(n)].events & (EPOLLHUP | EPOLLERR)) != 0)
        forget(fd);
      else if (found->second->leaving_ms == 0)
        found->second->leaving_ms = now_ms;
    }
    if (knocks) accept_all(now_ms);
    let_in(now_ms);
  }
}

// On a thread of its own: letting somebody in is work of the library's, and may take its time.
void Doorman::Watch::keep_looking() {
  while (!ending_) {
    std::this_thread::sleep_for(std::chrono::milliseconds(kTickMs));
    look_at(steady_ms());
    std::vector<std::string> sentences;
    {
      std::lock_guard lock(mutex_);
      sentences.swap(to_say_);
    }
    for (const std::string& sentence : sentences) options_.say(sentence);
  }
}

void Doorman::Watch::accept_all(std::int64_t now_ms) {
  std::uint64_t turned_away = 0;
  for (int n = 0; n < kEvents; ++n) {
    sockaddr_storage from{};
    socklen_t size = sizeof from;
    const int fd = ::accept4(listener_, reinterpret_cast<sockaddr*>(&from), &size,
                             SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
      // Out of descriptors: not in a busy loop.
      if (errno == EMFILE || errno == ENFILE)
        std::this_thread::sleep_for(std::chrono::milliseconds(kNoDescriptorMs));
      break;
    }
    auto [address, port] = name_of(from);
    auto& queue = waiting_[group_of(address)];
    if (waiting_count_ >= options_.limits.waiting ||
        queue.size() >= options_.limits.waiting_of_address) {
      ::close(fd);
      ++turned_away;
      continue;
    }
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    queue.push_back({fd, fmt::format("{} {}", address, port), now_ms});
    ++waiting_count_;
  }
  std::lock_guard lock(mutex_);
  counters_.turned_away += turned_away;
}

// One of each address in turn, as long as one of them may come in.
void Doorman::Watch::let_in(std::int64_t now_ms) {
  for (bool any = true; any && !waiting_.empty();) {
    any = false;
    auto at = waiting_.upper_bound(last_let_in_);
    for (std::size_t round = waiting_.size(); round > 0; --round) {
      if (at == waiting_.end()) at = waiting_.begin();
      auto& [address, queue] = *at;
      while (!queue.empty() && now_ms - queue.front().since_ms > options_.limits.prove_within_ms) {
        ::close(queue.front().fd);
        queue.pop_front();
        --waiting_count_;
        std::lock_guard lock(mutex_);
        ++counters_.turned_away;
      }
      if (!queue.empty() && let_in(address, queue.front(), now_ms)) {
        any = true;
        last_let_in_ = address;
        queue.pop_front();
        --waiting_count_;
      }
      at = queue.empty() ? waiting_.erase(at) : std::next(at);
    }
  }
  std::lock_guard lock(mutex_);
  counters_.waiting = waiting_count_;
}

bool Doorman::Watch::let_in(const std::string& address, const Waiting& next, std::int64_t now_ms) {
  int second = -1;
  {
    std::lock_guard lock(mutex_);
    auto known = unproven_.find(address);
    const std::size_t most = suspects_.contains(address) ? options_.limits.unproven_of_suspect
                                                         : options_.limits.unproven_of_address;
    if (counters_.unproven >= options_.limits.unproven ||
        (known != unproven_.end() && known->second >= most)) {
      pressed_[address] = now_ms;
      return false;
    }
    second = ::fcntl(next.fd, F_DUPFD_CLOEXEC, 0);
    if (second < 0) return false;
    auto visitor = std::make_shared<Visitor>();
    visitor->key = next.key;
    visitor->address = address;
    visitor->fd = second;
    visitor->since_ms = now_ms;
    by_key_[next.key] = visitor.get();
    inside_.emplace(second, std::move(visitor));
    ++unproven_[address];
    ++counters_.unproven;
    ++counters_.let_in;
    counters_.inside = inside_.size();
  }
  watch(second, EPOLLRDHUP | EPOLLET);
  options_.let_in(next.fd);
  return true;
}

// With the lock, as all that follow.
void Doorman::Watch::drop_proof(Visitor& visitor) {
  if (visitor.proven) {
    auto of_host = of_host_.find(visitor.host);
    std::erase(of_host->second, &visitor);
    if (of_host->second.empty()) of_host_.erase(of_host);
    return;
  }
  --counters_.unproven;
  auto found = unproven_.find(visitor.address);
  if (--found->second == 0) unproven_.erase(found);
}

void Doorman::Watch::forget(int fd) {
  auto found = inside_.find(fd);
  drop_proof(*found->second);
  auto named = by_key_.find(found->second->key);
  if (named != by_key_.end() && named->second == found->second.get()) by_key_.erase(named);
  inside_.erase(found);
  counters_.inside = inside_.size();
  ::close(fd);
}

void Doorman::Watch::cut(Visitor& visitor, std::int64_t now_ms) {
  ::shutdown(visitor.fd, SHUT_RDWR);
  if (visitor.leaving_ms == 0) visitor.leaving_ms = now_ms;
}

void Doorman::Watch::punish(Visitor& visitor, std::int64_t now_ms) {
  ++counters_.floods;
  cut(visitor, now_ms);
  if (suspects_.size() < kMaxPenalties)
    suspects_[visitor.address] = now_ms + options_.limits.flooder_waits_ms;
  if (!visitor.proven || penalties_.size() >= kMaxPenalties ||
      !penalties_.emplace(visitor.host, now_ms + options_.limits.flooder_waits_ms).second)
    return;
  to_say_.push_back(
      fmt::format("host number {} at {} sent more that is no message than a connection may: it was "
                  "cut off and waits {} s",
                  visitor.host, visitor.address, options_.limits.flooder_waits_ms / 1'000));
}

bool Doorman::Watch::floods(const Visitor& visitor, std::int64_t now_ms) const {
  tcp_info info{};
  socklen_t size = sizeof info;
  int unread = 0;
  if (::getsockopt(visitor.fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0 ||
      ::ioctl(visitor.fd, FIONREAD, &unread) != 0)
    return false;
  const DoormanLimits& limits = options_.limits;
  const auto seconds = static_cast<std::uint64_t>((now_ms - visitor.since_ms) / 1'000);
  return info.tcpi_bytes_received > static_cast<std::uint64_t>(unread) + visitor.bytes_ +
                                        seconds * limits.slack_per_s +
                                        (visitor.proven ? limits.slack : limits.slack_unproven);
}

void Doorman::Watch::look_at(std::int64_t now_ms) {
  std::lock_guard lock(mutex_);
  std::vector<int> gone;
  ++looks_;
  const int turns = 1 + static_cast<int>(inside_.size()) / kLooksPerTick;
  for (const auto& [fd, visitor] : inside_) {
    if (visitor->leaving_ms != 0) {
      // The library ends what its peer ended, or what was cut; if not, this does.
      if (now_ms - visitor->leaving_ms > kLeaveMs) gone.push_back(fd);
    } else if ((!visitor->proven || fd % turns == looks_ % turns) && floods(*visitor, now_ms)) {
      punish(*visitor, now_ms);
    } else if (!visitor->proven &&
               now_ms - visitor->since_ms > (pressed_.contains(visitor->address)
                                                 ? options_.limits.pressed_within_ms
                                                 : options_.limits.prove_within_ms)) {
      ++counters_.silent;
      cut(*visitor, now_ms);
    }
  }
  for (int fd : gone) {
    ::shutdown(fd, SHUT_RDWR);
    forget(fd);
  }
  const auto over = [now_ms](const auto& one) { return one.second <= now_ms; };
  std::erase_if(penalties_, over);
  std::erase_if(suspects_, over);
  std::erase_if(pressed_, [now_ms](const auto& one) { return one.second + kPressedMs <= now_ms; });
}

bool Doorman::Watch::is_leaving(const std::string& peer) const {
  std::lock_guard lock(mutex_);
  auto found = by_key_.find(key_of_peer(peer));
  return found == by_key_.end() || found->second->leaving_ms != 0;
}

std::shared_ptr<Visitor> Doorman::Watch::prove(const std::string& peer, std::uint32_t host) {
  std::lock_guard lock(mutex_);
  const std::int64_t now_ms = steady_ms();
  auto found = by_key_.find(key_of_peer(peer));
  if (found == by_key_.end() || found->second->leaving_ms != 0) return nullptr;
  Visitor& visitor = *found->second;
  const std::int64_t age_s = (now_ms - visitor.since_ms) / 1'000;
  if (++visitor.streams > options_.limits.streams + age_s / 2) punish(visitor, now_ms);
  if (penalties_.contains(host)) {
    cut(visitor, now_ms);
    return nullptr;
  }
  if (visitor.proven) return inside_.at(visitor.fd);
  drop_proof(visitor);
  visitor.proven = true;
  visitor.host = host;
  std::vector<Visitor*>& of_host = of_host_[host];
  of_host.push_back(&visitor);
  if (of_host.size() > options_.limits.of_host) {
    auto oldest = std::find_if(of_host.begin(), of_host.end(),
                               [](const Visitor* other) { return other->leaving_ms == 0; });
    ++counters_.replaced;
    cut(**oldest, now_ms);
  }
  return inside_.at(visitor.fd);
}

Result<std::unique_ptr<Doorman>> Doorman::open(DoormanOptions options) {
  Result<int> listener = listen_at(options.address);
  if (!listener) return tl::unexpected(listener.error());
  return std::unique_ptr<Doorman>(
      new Doorman(std::make_unique<Watch>(std::move(options), *listener)));
}

Doorman::Doorman(std::unique_ptr<Watch> watch) : watch_(std::move(watch)) {}
Doorman::~Doorman() = default;
std::uint16_t Doorman::port() const {
  return watch_->port();
}
void Doorman::start() {
  watch_->start();
}
void Doorman::stop() {
  watch_->stop();
}
std::shared_ptr<Visitor> Doorman::prove(const std::string& peer, std::uint32_t host) {
  return watch_->prove(peer, host);
}
bool Doorman::is_leaving(const std::string& peer) const {
  return watch_->is_leaving(peer);
}
DoormanCounters Doorman::counters() const {
  return watch_->counters();
}

}  // namespace weir
