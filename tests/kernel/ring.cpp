// By io_uring: a socket that the kernel makes, connects and sends on.
#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>

#include "tests/kernel/ways.h"

namespace weir::test {
namespace {

// A ring of the kernel's, by hand: one request at a time, handed to a worker thread; `polled`: to
// a thread of the kernel's that looks for requests by itself, so that who sends makes no call.
class Ring {
 public:
  explicit Ring(bool polled) : polled_(polled) {
    io_uring_params p{};
    if (polled) p.flags = IORING_SETUP_SQPOLL;
    p.sq_thread_idle = 100;  // ms
    fd_ = static_cast<int>(syscall(__NR_io_uring_setup, 4, &p));
    if (fd_ < 0) return;
    auto map = [this](std::size_t size, off_t at) {
      return static_cast<char*>(
          mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd_, at));
    };
    char* in = map(p.sq_off.array + p.sq_entries * sizeof(unsigned), IORING_OFF_SQ_RING);
    char* out = map(p.cq_off.cqes + p.cq_entries * sizeof(io_uring_cqe), IORING_OFF_CQ_RING);
    requests_ =
        reinterpret_cast<io_uring_sqe*>(map(p.sq_entries * sizeof(io_uring_sqe), IORING_OFF_SQES));
    flags_ = reinterpret_cast<std::atomic<unsigned>*>(in + p.sq_off.flags);
    tail_ = reinterpret_cast<std::atomic<unsigned>*>(in + p.sq_off.tail);
    mask_ = *reinterpret_cast<unsigned*>(in + p.sq_off.ring_mask);
    array_ = reinterpret_cast<unsigned*>(in + p.sq_off.array);
    head_ = reinterpret_cast<std::atomic<unsigned>*>(out + p.cq_off.head);
    out_mask_ = *reinterpret_cast<unsigned*>(out + p.cq_off.ring_mask);
    end_ = reinterpret_cast<std::atomic<unsigned>*>(out + p.cq_off.tail);
    answers_ = reinterpret_cast<io_uring_cqe*>(out + p.cq_off.cqes);
  }
  bool ok() const { return fd_ >= 0; }

  int run(io_uring_sqe request) {
    unsigned tail = *tail_, at = tail & mask_;
    if (!polled_) request.flags |= IOSQE_ASYNC;
    requests_[at] = request;
    array_[at] = at;
    *tail_ = tail + 1;
    if (!(polled_ ? is_polled() : enter(1, 1, IORING_ENTER_GETEVENTS))) return -errno;
    unsigned head = *head_;
    int result = answers_[head & out_mask_].res;
    *head_ = head + 1;
    return result;
  }

 private:
  bool enter(unsigned put, unsigned answered, unsigned flags) {
    return syscall(__NR_io_uring_enter, fd_, put, answered, flags, nullptr, 0) >= 0;
  }
  // Until there is an answer. The thread sleeps when nothing came for a while.
  bool is_polled() {
    while (*end_ == *head_) {
      if ((*flags_ & IORING_SQ_NEED_WAKEUP) && !enter(1, 0, IORING_ENTER_SQ_WAKEUP)) return false;
      usleep(20);
    }
    return true;
  }

  const bool polled_;
  int fd_ = -1;
  io_uring_sqe* requests_ = nullptr;
  io_uring_cqe* answers_ = nullptr;
  std::atomic<unsigned>*tail_ = nullptr, *head_ = nullptr, *end_ = nullptr, *flags_ = nullptr;
  unsigned *array_ = nullptr, mask_ = 0, out_mask_ = 0;
};

}  // namespace

int by_ring(const Target& to, bool polled) {
  Ring ring(polled);
  if (!ring.ok()) return kNotHere;
  io_uring_sqe make{};
  make.opcode = IORING_OP_SOCKET;  // since 5.19
  make.fd = to.address.ss_family;
  make.off = to.udp ? SOCK_DGRAM : SOCK_STREAM;
  int fd = ring.run(make);
  if (fd < 0) return kNotHere;
  io_uring_sqe go{};
  go.opcode = IORING_OP_CONNECT;
  go.fd = fd;
  go.addr = reinterpret_cast<std::uintptr_t>(&to.address);
  go.off = to.size;
  if (ring.run(go) < 0) return 4;
  timeval patience{0, 200'000};
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  while (!is_over(to)) {
    io_uring_sqe put{};
    put.opcode = IORING_OP_SEND;
    put.fd = fd;
    put.addr = reinterpret_cast<std::uintptr_t>(bytes);
    put.len = to.udp ? kDatagram : sizeof bytes;
    put.msg_flags = MSG_NOSIGNAL | MSG_DONTWAIT;
    if (ring.run(put) <= 0) usleep(500);
  }
  return 0;
}

}  // namespace weir::test
