// The guard's end of its line to the uplink, and the uplink's life: started, heard, ended when it
// is silent or sends nonsense, started again after a while. What it offers goes to the guard.
// Thread: the guard's.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <variant>

#include "agent/guard/sealed_memory.h"
#include "agent/guard/spawner.h"
#include "agent/guard/uplink_messages.h"

namespace weir {

struct UplinkCounters {
  std::uint64_t started = 0, silent = 0, nonsense = 0, offers = 0;
};

class UplinkLink {
 public:
  explicit UplinkLink(bool wanted) : wanted_(wanted) {}
  UplinkLink(UplinkLink&& other) noexcept = default;
  ~UplinkLink();

  struct Offer {
    std::variant<wire::OfferPolicy, wire::OfferCommand, wire::OfferTrust> message;
    Result<SealedMemory> bytes = fail("");
  };

  int fd() const { return fd_; }  // -1: nobody is there
  // Starts it if it is due, ends it if it is silent.
  void tend(Spawner& spawner, std::uint64_t now_ns);
  // One offer, if one is there; beats are swallowed.
  std::optional<Offer> hear(Spawner& spawner, std::uint64_t now_ns);
  void ended(int status, std::uint64_t now_ns);  // as waitpid has it
  // Remembered, and told to each uplink as its first message.
  void tell(const wire::PolicyStateMessage& state);
  void tell(const wire::HostFactsMessage& facts);  // likewise, before the state
  // Once. One that is not heard is asked for again: the collector sends the command until it knows.
  void tell(wire::CommandOutcomeMessage outcome);
  void stop();  // it should finish

  std::uint64_t due_ns() const;  // when tend() has something to do
  const UplinkCounters& counters() const { return counters_; }

 private:
  void give_up(Spawner& spawner);
  void send_state();
  template <class M>
  bool send(M& message);

  bool wanted_;
  int fd_ = -1;
  bool running_ = false;
  std::optional<wire::UplinkSession> session_;
  std::uint32_t sequence_ = 0;
  wire::PolicyStateMessage state_;
  wire::HostFactsMessage facts_;
  bool untold_ = false;  // its queue was full
  std::uint64_t start_at_ns_ = 0, started_ns_ = 0, backoff_ns_ = 0;
  UplinkCounters counters_;
};

}  // namespace weir
