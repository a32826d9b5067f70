// One thread accepts and lets in by turns; one reads the kernel's counters of who is inside.
#include "platform/doorman/doorman.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

#include "platform/doorman/addresses.h"
#include "platform/doorman/handshakes.h"
#include "platform/doorman/steady.h"
#include "platform/doorman/waiting_room.h"

namespace weir {
namespace {

constexpr int kEvents = 256;  // taken from the kernel at once
constexpr int kTickMs = 10;
constexpr std::int64_t kPressedMs = 500;
constexpr int kOn = 1, kPeerGoneMs = 30'000;  // nothing that was sent arrived
constexpr int kNoDescriptorMs = 100;
// Of those who are proven so many are looked at in a tick, in turn: two calls each, some 0.2 ms.
constexpr int kLooksPerTick = 100;
constexpr std::int64_t kLeaveMs = 2'000;  // after the peer's end, or after it was cut off
constexpr std::size_t kMaxPenalties = 4'096;
constexpr std::int64_t kExpireMs = 100;       // between two looks at who has waited too long
constexpr std::int64_t kSweepMs = 1'000;      // at addresses that have knocked no more
constexpr std::uint64_t kWorthTelling = 20;   // a client that gave up is none of the log's business
constexpr std::int64_t kTellEachMs = 60'000;  // what was kept out, in one sentence

}  // namespace

class Doorman::Watch {
 public:
  Watch(DoormanOptions options, int listener)
      : options_(std::move(options)),
        listener_(listener),
        epoll_(::epoll_create1(EPOLL_CLOEXEC)),
        wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
        room_(options_.limits.waiting, options_.limits.waiting_of_address),
        handshakes_(
            {options_.limits.handshakes, options_.limits.handshakes_per_s},
            {options_.limits.handshakes_of_address, options_.limits.handshakes_of_address_per_s}) {
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
    for (int fd : room_.all()) ::close(fd);
  }
  std::shared_ptr<Visitor> find(const std::string& peer) const;
  bool prove(Visitor& visitor, std::uint32_t host);
  void give_back(Visitor& visitor);
  void leave(Visitor& visitor);
  bool is_leaving(const std::string& peer) const;
  DoormanCounters counters() const {
    std::lock_guard lock(mutex_);
    return counters_;
  }

 private:
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
  bool let_in(const std::string& address, Waiting& next, std::int64_t now_ms);
  bool is_full(std::int64_t now_ms);
  bool is_spent(std::int64_t now_ms) {
    std::lock_guard lock(mutex_);
    return !handshakes_.any(now_ms);
  }
  bool is_open(std::int64_t now_ms) {
    std::lock_guard lock(mutex_);
    return !is_full(now_ms);
  }
  bool has_room(const std::string& address, std::int64_t now_ms);
  void turn_away(const std::vector<int>& fds);
  void look_at(std::int64_t now_ms);
  void punish(Visitor& visitor, std::int64_t now_ms);
  bool floods(const Visitor& visitor, std::int64_t now_ms) const;
  void cut(Visitor& visitor, std::int64_t now_ms);
  void forget(int fd);
  void drop_proof(Visitor& visitor);
  using Visitors = std::vector<Visitor*>;
  bool make_room(Visitor& newcomer, const Visitors& of_host, std::int64_t now_ms);
  void give_back_once(Visitor& visitor, std::int64_t now_ms);
  bool is_pressed(const std::string& address, std::int64_t now_ms) const {
    return now_ms - full_ms_ < kPressedMs || pressed_.contains(address);
  }
  bool is_inside(const Visitor& visitor) const;
  void tell(std::int64_t now_ms);

  const DoormanOptions options_;
  const int listener_, epoll_, wake_;
  std::atomic<bool> ending_ = false;
  // The thread's own.
  WaitingRoom room_;
  std::int64_t expired_ms_ = 0;
  // The looking thread's.
  int looks_ = 0;
  std::int64_t swept_ms_ = 0, told_ms_ = 0;
  DoormanCounters told_;

  mutable std::mutex mutex_;
  std::unordered_map<int, std::shared_ptr<Visitor>> inside_;  // by their second descriptor
  std::unordered_map<std::string, Visitor*> by_key_;
  std::unordered_map<std::string, std::size_t> unproven_;      // by address
  std::unordered_map<std::uint32_t, Visitors> of_host_;        // oldest first
  std::unordered_map<std::uint32_t, std::int64_t> penalties_;  // until when, by host
  std::unordered_map<std::string, std::int64_t> suspects_;     // addresses, until when
  std::unordered_map<std::string, std::int64_t> pressed_;      // where others wait; since when
  std::int64_t full_ms_ = -kPressedMs;                         // that nobody could come in
  Handshakes handshakes_;
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
  std::vector<int> turned_away;
  const bool none_left = is_spent(now_ms);
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
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &kOn, sizeof kOn);
    ::setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &kPeerGoneMs, sizeof kPeerGoneMs);
    if (auto goes = room_.add(group_of(address),
                              {fd, fmt::format("{} {}", address, port), now_ms, none_left}))
      turned_away.push_back(*goes);
  }
  turn_away(turned_away);
}

void Doorman::Watch::turn_away(const std::vector<int>& fds) {
  for (int fd : fds) ::close(fd);
  std::lock_guard lock(mutex_);
  counters_.turned_away += fds.size();
}

// One of each address in turn, as long as one of them may come in.
void Doorman::Watch::let_in(std::int64_t now_ms) {
  if (now_ms - expired_ms_ >= kExpireMs) {
    expired_ms_ = now_ms;
    turn_away(room_.since_before(now_ms - options_.limits.prove_within_ms));
  }
  while (room_.size() != 0 && is_open(now_ms) &&
         room_.once_around([this, now_ms](const std::string& address, Waiting& first) {
           return let_in(address, first, now_ms);
         })) {
  }
  std::lock_guard lock(mutex_);
  counters_.waiting = room_.size();
}

// With the lock. Not for anybody: then nobody's turn has come.
bool Doorman::Watch::is_full(std::int64_t now_ms) {
  if (counters_.unproven < options_.limits.unproven) return !handshakes_.any(now_ms);
  full_ms_ = now_ms;
  return true;
}

// With the lock. Beside the others of its address.
bool Doorman::Watch::has_room(const std::string& address, std::int64_t now_ms) {
  const auto known = unproven_.find(address);
  const std::size_t most = suspects_.contains(address) ? options_.limits.unproven_of_suspect
                                                       : options_.limits.unproven_of_address;
  if (known == unproven_.end() || known->second < most) return true;
  pressed_[address] = now_ms;
  return false;
}

// Whether it need not wait any more.
bool Doorman::Watch::let_in(const std::string& address, Waiting& next, std::int64_t now_ms) {
  std::shared_ptr<Visitor> visitor;
  {
    std::lock_guard lock(mutex_);
    if (is_full(now_ms) || !has_room(address, now_ms)) return false;
    if (has_left(next.fd)) {
      ::close(next.fd);
      ++counters_.turned_away;
      return true;
    }
    const int second = ::fcntl(next.fd, F_DUPFD_CLOEXEC, 0);
    if (second < 0) return false;
    if (!handshakes_.take(address, now_ms)) {
      ::close(second);
      next.held_back = true;
      return false;
    }
    counters_.held_back += next.held_back ? 1 : 0;
    visitor = std::make_shared<Visitor>();
    visitor->key = next.key;
    visitor->address = address;
    visitor->fd = second;
    visitor->since_ms = now_ms;
    by_key_[next.key] = visitor.get();
    inside_.emplace(second, visitor);
    ++unproven_[address];
    ++counters_.unproven;
    ++counters_.let_in;
    counters_.inside = inside_.size();
    watch(second, EPOLLRDHUP | EPOLLET);
  }
  options_.let_in(next.fd, visitor);
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
  // Else its end, while the library still holds it, is taken for that of the number's next visitor.
  ::epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, nullptr);
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
  to_say_.push_back(fmt::format(
      "{} {} at {} sent more that is no message than a connection may: it was "
      "cut off and waits {} s",
      options_.who, visitor.host, visitor.address, options_.limits.flooder_waits_ms / 1'000));
}

bool Doorman::Watch::floods(const Visitor& visitor, std::int64_t now_ms) const {
  const DoormanLimits& limits = options_.limits;
  const auto seconds = static_cast<std::uint64_t>((now_ms - visitor.since_ms) / 1'000);
  return bytes_taken(visitor.fd) > visitor.bytes_ + seconds * limits.slack_per_s +
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
               now_ms - visitor->since_ms > (is_pressed(visitor->address, now_ms)
                                                 ? options_.limits.pressed_within_ms
                                                 : options_.limits.prove_within_ms)) {
      ++counters_.silent;
      cut(*visitor, now_ms);
    }
  }
  for (int fd : gone) ::shutdown(fd, SHUT_RDWR), forget(fd);
  const auto over = [now_ms](const auto& one) { return one.second <= now_ms; };
  std::erase_if(penalties_, over);
  std::erase_if(suspects_, over);
  std::erase_if(pressed_, [now_ms](const auto& one) { return one.second + kPressedMs <= now_ms; });
  if (now_ms - swept_ms_ < kSweepMs) return;
  swept_ms_ = now_ms;
  handshakes_.sweep(now_ms);
  tell(now_ms);
}

// At most one sentence in a while, whatever knocks.
void Doorman::Watch::tell(std::int64_t now_ms) {
  const std::uint64_t turned_away = counters_.turned_away - told_.turned_away,
                      held_back = counters_.held_back - told_.held_back,
                      silent = counters_.silent - told_.silent,
                      floods = counters_.floods - told_.floods;
  if (turned_away + held_back + floods < kWorthTelling || now_ms - told_ms_ < kTellEachMs) return;
  to_say_.push_back(fmt::format(
      "{}: of those that knocked lately {} were turned away, {} waited because of "
      "handshakes that came to nothing, {} said nothing, {} flooded; {} are inside, {} "
      "wait",
      options_.door, turned_away, held_back, silent, floods, counters_.inside, counters_.waiting));
  told_ = counters_;
  told_ms_ = now_ms;
}

bool Doorman::Watch::is_leaving(const std::string& peer) const {
  std::lock_guard lock(mutex_);
  auto found = by_key_.find(key_of_peer(peer));
  return found == by_key_.end() || found->second->leaving_ms != 0;
}

bool Doorman::Watch::is_inside(const Visitor& visitor) const {
  const auto found = inside_.find(visitor.fd);
  return found != inside_.end() && found->second.get() == &visitor;
}

std::shared_ptr<Visitor> Doorman::Watch::find(const std::string& peer) const {
  std::lock_guard lock(mutex_);
  const auto found = by_key_.find(key_of_peer(peer));
  return found == by_key_.end() ? nullptr : inside_.at(found->second->fd);
}

void Doorman::Watch::give_back_once(Visitor& visitor, std::int64_t now_ms) {
  if (std::exchange(visitor.given_back, true)) return;
  handshakes_.give_back(visitor.address, now_ms);
}

void Doorman::Watch::give_back(Visitor& visitor) {
  std::lock_guard lock(mutex_);
  give_back_once(visitor, steady_ms());
}

void Doorman::Watch::leave(Visitor& visitor) {
  std::lock_guard lock(mutex_);
  if (is_inside(visitor)) cut(visitor, steady_ms());
}

// Who is leaving takes no place. Of the others the most silent goes, if it may be dead; if not, the
// newcomer: copies of one machine would drive each other out before they are noticed.
bool Doorman::Watch::make_room(Visitor& newcomer, const Visitors& of_host, std::int64_t now_ms) {
  Visitors staying;
  for (Visitor* one : of_host)
    if (one->leaving_ms == 0 && one != &newcomer) staying.push_back(one);
  if (staying.size() < options_.limits.of_host) return true;
  ++counters_.replaced;
  const std::int64_t lately_ms = options_.limits.spoke_within_ms;
  const auto silent = [lately_ms](const Visitor* one) {
    return lately_ms ? silence_ms(one->fd) : 0;
  };
  Visitor* goes = *std::ranges::max_element(staying, {}, silent);
  if (silent(goes) < lately_ms) goes = &newcomer;
  cut(*goes, now_ms);
  return goes != &newcomer;
}

bool Doorman::Watch::prove(Visitor& visitor, std::uint32_t host) {
  std::lock_guard lock(mutex_);
  const std::int64_t now_ms = steady_ms();
  if (!is_inside(visitor) || visitor.leaving_ms != 0) return false;
  const std::int64_t age_s = (now_ms - visitor.since_ms) / 1'000;
  if (++visitor.streams > options_.limits.streams + age_s / 2) punish(visitor, now_ms);
  if (penalties_.contains(host)) cut(visitor, now_ms);
  if (visitor.leaving_ms != 0) return false;
  if (visitor.proven) return true;
  give_back_once(visitor, now_ms);
  drop_proof(visitor);
  visitor.proven = true;
  visitor.host = host;
  Visitors& of_host = of_host_[host];
  of_host.push_back(&visitor);
  return make_room(visitor, of_host, now_ms);
}

Result<std::unique_ptr<Doorman>> Doorman::open(DoormanOptions options) {
  Result<int> listener = listen_at(options.address, options.door);
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
  std::shared_ptr<Visitor> visitor = watch_->find(peer);
  return visitor && watch_->prove(*visitor, host) ? visitor : nullptr;
}
bool Doorman::prove(Visitor& visitor, std::uint32_t host) {
  return watch_->prove(visitor, host);
}
void Doorman::give_back(Visitor& visitor) {
  watch_->give_back(visitor);
}
void Doorman::leave(Visitor& visitor) {
  watch_->leave(visitor);
}
bool Doorman::is_leaving(const std::string& peer) const {
  return watch_->is_leaving(peer);
}
DoormanCounters Doorman::counters() const {
  return watch_->counters();
}

}  // namespace weir
