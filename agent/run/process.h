// Processes, pipes and signals as values that clean up after themselves. Thread: one owner each.
#pragma once

#include <sys/types.h>

#include <csignal>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <optional>

#include "core/base/result.h"
#include "platform/files/fd.h"

namespace weir {

std::int64_t wall_now_ns();  // CLOCK_REALTIME

class Pipe {  // both ends close on exec
 public:
  static Result<Pipe> make();
  int reader() const { return reader_.get(); }
  int writer() const { return writer_.get(); }
  void close_reader() { reader_.close(); }
  void close_writer() { writer_.close(); }

 private:
  Fd reader_, writer_;
};

// A child, held by pidfd so that its number is never mistaken for another's.
class Process {
 public:
  // `body` runs in the child and should not return; the child exits with 1 if it does.
  static Result<Process> fork(const std::function<void()>& body);
  Process(Process&&) noexcept = default;
  Process& operator=(Process&&) noexcept = default;

  std::uint32_t pid() const { return pid_; }
  int pidfd() const { return pidfd_.get(); }
  void send(int signal) const;
  int wait();  // exit status, 128 + signal if it was killed; later calls repeat it

 private:
  Process(std::uint32_t pid, int pidfd) : pid_(pid), pidfd_(pidfd) {}
  std::uint32_t pid_ = 0;
  Fd pidfd_;
  std::optional<int> status_;
};

// Takes signals from a descriptor instead of a handler, while it lives.
class SignalFd {
 public:
  explicit SignalFd(std::initializer_list<int> signals);
  SignalFd(const SignalFd&) = delete;
  SignalFd& operator=(const SignalFd&) = delete;
  ~SignalFd();
  int fd() const { return fd_.get(); }
  std::optional<int> take();                       // without waiting
  const sigset_t& before() const { return old_; }  // the mask that a child goes back to

 private:
  sigset_t old_{};
  Fd fd_;
};

}  // namespace weir
