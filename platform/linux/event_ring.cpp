// EventRing: libbpf's ring reader behind a value of ours.
#include "platform/linux/event_ring.h"

#include <bpf/libbpf.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

namespace weir {

struct EventRing::State {
  ring_buffer* ring = nullptr;
  int map = -1, woken = -1;  // `woken` is ours
  const std::function<void(Bytes)>* on = nullptr;
  std::size_t read = 0, most = 0;

  ~State() {
    ring_buffer__free(ring);
    if (woken >= 0) ::close(woken);
  }

  // By edges: libbpf's own descriptor is readable while anything is there, and would wake the
  // reader for each record of a busy host.
  bool wait_for_edges(int operation) {
    epoll_event edge{EPOLLIN | EPOLLET, {}};
    return ::epoll_ctl(woken, operation, map, &edge) == 0;
  }

  static int on_record(void* context, void* data, std::size_t size) {
    auto* s = static_cast<State*>(context);
    (*s->on)(Bytes(static_cast<const std::uint8_t*>(data), size));
    // A negative answer ends the walk; this record counts as read all the same.
    return ++s->read < s->most ? 0 : -1;
  }
};

Result<EventRing> EventRing::open(int fd) {
  auto state = std::make_unique<State>();
  state->ring = ring_buffer__new(fd, State::on_record, state.get(), nullptr);
  if (!state->ring)
    return fail(std::string("cannot map the kernel part's ring: ") + std::strerror(errno));
  state->map = fd;
  state->woken = ::epoll_create1(EPOLL_CLOEXEC);
  if (state->woken < 0 || !state->wait_for_edges(EPOLL_CTL_ADD))
    return fail(std::string("cannot wait for the kernel part's ring: ") + std::strerror(errno));
  return EventRing(std::move(state));
}

EventRing::EventRing(std::unique_ptr<State> state) : state_(std::move(state)) {}
EventRing::EventRing(EventRing&&) noexcept = default;
EventRing& EventRing::operator=(EventRing&&) noexcept = default;
EventRing::~EventRing() = default;

int EventRing::poll_fd() const {
  return state_->woken;
}

std::size_t EventRing::read(const std::function<void(Bytes)>& on, std::size_t most) {
  state_->on = &on;
  state_->read = 0;
  state_->most = most;
  epoll_event edge;
  (void)::epoll_wait(state_->woken, &edge, 1, 0);  // before the walk: what comes in it wakes again
  ring_buffer__consume(state_->ring);
  if (state_->read >= most) state_->wait_for_edges(EPOLL_CTL_MOD);
  return state_->read;
}

}  // namespace weir
