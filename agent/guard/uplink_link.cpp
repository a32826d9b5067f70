// The guard's end of its line to the uplink: see uplink_link.h.
#include "agent/guard/uplink_link.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <span>
#include <utility>

#include "agent/guard/compiled.h"

namespace weir {
namespace {

constexpr std::uint64_t kSecondNs = 1'000'000'000;
constexpr std::uint64_t kFirstBackoffNs = kSecondNs / 2;
// Reports wait in the spool for a day and more: no hurry to try what failed.
constexpr std::uint64_t kLongestBackoffNs = 60 * kSecondNs;
constexpr std::uint64_t kSteadyNs = 60 * kSecondNs;  // one that ran that long starts afresh
constexpr int kMessagesAtOnce = 8;
constexpr std::size_t kMostFds = 4;  // room for more than may come, so that they are seen

struct Came {
  ssize_t size = -1;
  std::array<int, kMostFds> fds{-1, -1, -1, -1};
  std::size_t descriptors = 0;
};

Came receive(int fd, std::span<std::uint8_t> buffer) {
  Came came;
  iovec part{buffer.data(), buffer.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(kMostFds * sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  came.size = ::recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (came.size < 0) return came;
  for (cmsghdr* head = CMSG_FIRSTHDR(&message); head != nullptr;
       head = CMSG_NXTHDR(&message, head)) {
    if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS) continue;
    std::size_t count = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t n = 0; n < count && came.descriptors < kMostFds; ++n)
      std::memcpy(&came.fds[came.descriptors++], CMSG_DATA(head) + n * sizeof(int), sizeof(int));
  }
  if ((message.msg_flags & MSG_CTRUNC) != 0) came.descriptors = kMostFds;  // more than that
  return came;
}

}  // namespace

UplinkLink::~UplinkLink() {
  if (fd_ >= 0) ::close(fd_);
}

// False: nobody is there, or its queue is full.
template <class M>
bool UplinkLink::send(M& message) {
  if (fd_ < 0) return false;
  Bytes bytes = wire::seal(message, sequence_);
  if (::send(fd_, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL) ==
      static_cast<ssize_t>(bytes.size()))
    return true;
  --sequence_;
  return false;
}

void UplinkLink::tend(Spawner& spawner, std::uint64_t now) {
  if (!wanted_) return;
  if (running_) {
    if (untold_) send_state();
    std::uint64_t heard = std::max(session_ ? session_->last_heard_ns() : 0, started_ns_);
    if (fd_ < 0 || now - heard < wire::kUplinkSilentNs) return;
    ++counters_.silent;
    fmt::print(stderr, "weir-guard: the uplink is silent: it is started again\n");
    give_up(spawner);
    return;
  }
  if (now < start_at_ns_) return;
  backoff_ns_ = std::clamp(backoff_ns_ * 2, kFirstBackoffNs, kLongestBackoffNs);
  start_at_ns_ = now + backoff_ns_;
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0) return;
  const int fds[] = {pair[1]};
  if (spawner.spawn(Role::uplink, fds)) {
    fd_ = pair[0];
    running_ = true;
    started_ns_ = now;
    session_.emplace();
    sequence_ = 0;
    ++counters_.started;
    if (facts_.tier != 0) (void)send(facts_);
    send_state();
  } else {
    ::close(pair[0]);
  }
  ::close(pair[1]);
}

std::optional<UplinkLink::Offer> UplinkLink::hear(Spawner& spawner, std::uint64_t now) {
  std::uint8_t buffer[wire::kUplinkReceiveBuffer];
  for (int n = 0; n < kMessagesAtOnce && fd_ >= 0; ++n) {
    Came came = receive(fd_, buffer);
    if (came.size < 0) return std::nullopt;
    if (came.size == 0) {  // its end: the spawner tells that as well
      give_up(spawner);
      return std::nullopt;
    }
    auto message =
        session_->on({buffer, static_cast<std::size_t>(came.size)}, came.descriptors, now);
    if (message && !std::holds_alternative<wire::UplinkBeat>(*message)) {
      ++counters_.offers;
      Offer offer{{}, SealedMemory::foreign(came.fds[0], kMaxEnvelopeBytes)};
      if (const auto* policy = std::get_if<wire::OfferPolicy>(&*message)) offer.message = *policy;
      if (const auto* command = std::get_if<wire::OfferCommand>(&*message))
        offer.message = *command;
      if (const auto* trust = std::get_if<wire::OfferTrust>(&*message)) offer.message = *trust;
      return offer;
    }
    for (int fd : came.fds)
      if (fd >= 0) ::close(fd);
    if (!message) {
      ++counters_.nonsense;
      fmt::print(stderr, "weir-guard: the uplink sent nonsense ({}): it is started again\n",
                 wire::name_of(message.error()));
      give_up(spawner);
    }
  }
  return std::nullopt;
}

void UplinkLink::give_up(Spawner& spawner) {
  spawner.kill(Role::uplink);
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

void UplinkLink::ended(int status, std::uint64_t now) {
  fmt::print(stderr, "weir-guard: the uplink ended (status {}); it is started again\n", status);
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  running_ = false;
  if (now - started_ns_ > kSteadyNs) backoff_ns_ = 0;
  start_at_ns_ = now + std::max(backoff_ns_, kFirstBackoffNs);
}

void UplinkLink::tell(const wire::PolicyStateMessage& state) {
  state_ = state;
  send_state();
}

void UplinkLink::tell(const wire::HostFactsMessage& facts) {
  facts_ = facts;
  (void)send(facts_);
}

void UplinkLink::tell(wire::CommandOutcomeMessage outcome) {
  (void)send(outcome);
}

void UplinkLink::send_state() {
  untold_ = fd_ >= 0;
  if (fd_ < 0 || state_.state == 0) return;
  untold_ = !send(state_);
}

void UplinkLink::stop() {
  wire::UplinkStop stop;
  (void)send(stop);
}

std::uint64_t UplinkLink::due_ns() const {
  return wanted_ && !running_ ? start_at_ns_ : ~0ull;
}

}  // namespace weir
