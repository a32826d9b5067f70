// Reads a ring of the kernel part by its descriptor alone, with no BPF call after the opening: the
// sealed engine polls the descriptor and walks the mapped ring. Thread: one reader.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "core/base/bytes.h"
#include "core/base/result.h"

namespace weir {

class EventRing {
 public:
  // `fd` is a ring's map, and stays the caller's until the EventRing is gone; needs the BPF call
  // (open before the seal). Afterwards: poll(fd), memory reads, nothing else.
  static Result<EventRing> open(int fd);

  EventRing(EventRing&&) noexcept;
  EventRing& operator=(EventRing&&) noexcept;
  ~EventRing();

  // Readable once a record has come that can't wait (platform/linux/bpf/records.h says which), or
  // read() has left some. The others are there for who looks now and then.
  int poll_fd() const;
  // Hands each record (it starts with weir_record) to `on`, at most `most`; returns how many. Bytes
  // live until the callback returns.
  std::size_t read(const std::function<void(Bytes)>& on, std::size_t most = 1024);

 private:
  struct State;
  explicit EventRing(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace weir
