// Who stands before a door of the collector's. It accepts the connections, lets few in at a time
// that have shown nothing yet, not too many a second, and watches those inside from without: how
// many bytes came that were no message. The library behind the agents' door has no limit for
// resets, pings, settings, empty or endless frames, that behind the console's none for TLS records
// without a byte in them; they all are bytes without a message, and who sends too many is cut off.
// Memory is bounded by the limits below. Thread: any; it has two of its own.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "core/base/result.h"

namespace weir {

struct DoormanLimits {
  // A fleet behind one address comes through in turn: a handshake takes milliseconds.
  std::size_t unproven = 512;              // inside, without a stream of a host of ours
  std::size_t unproven_of_suspect = 4;     // of an address from which a flood came lately
  std::size_t unproven_of_address = 128;   // of these
  std::size_t waiting = 8'192;             // accepted and not let in yet: a descriptor each
  std::size_t waiting_of_address = 4'096;  // where few others wait; else all have an equal share
  std::size_t of_host = 4;                 // a stream, the one that replaces it, and a clone's
  // With one more the most silent of them goes, and the newcomer where all have spoken within this:
  // each answers a ping every 10 s. 0: the oldest goes.
  std::int64_t spoke_within_ms = 12'000;
  std::int64_t prove_within_ms = 10'000;   // TLS has 5 s of it; waiting has as long
  std::int64_t pressed_within_ms = 3'000;  // the same while others of its address wait
  // Bytes beyond the messages: TLS, frames, pings each 10 s. A message that is still on its way
  // counts when it is whole: an agent has 1.25 MiB under way at most (agent/uplink/sender.h).
  std::uint64_t slack_unproven = 64 << 10, slack = 1536 << 10, slack_per_s = 4 << 10;
  std::uint32_t streams = 16;  // of one connection, and one more each 2 s
  std::int64_t flooder_waits_ms = 60'000;
  // Handshakes that came to nothing: 0.1 to 0.5 ms of a processor each. One that ends with a
  // known host is given back, so that a fleet which comes back at once waits for none: of it never
  // more are open than `unproven`. The first number at once, the second each second from then on.
  double handshakes = 1'024, handshakes_per_s = 400;
  double handshakes_of_address = 256, handshakes_of_address_per_s = 100;
};

struct DoormanCounters {
  std::uint64_t inside = 0, unproven = 0, waiting = 0;                              // now
  std::uint64_t let_in = 0, turned_away = 0, silent = 0, floods = 0, replaced = 0;  // ever
  std::uint64_t held_back = 0;  // ever; waited because of handshakes that came to nothing
};

// A connection that is inside.
class Visitor {
 public:
  // A message of this size came over it, or a part of one.
  void brought(std::size_t bytes) { bytes_ += 2 * bytes + kOfMessage; }
  // Of machines that share a limit: an IPv4 address, or a /64 of IPv6.
  const std::string& group() const { return address; }

 private:
  friend class Doorman;
  static constexpr std::uint64_t kOfMessage = 256;  // frames and TLS records of a small one
  std::string key, address;
  int fd = -1;  // a second descriptor of the connection
  std::int64_t since_ms = 0, leaving_ms = 0;
  bool proven = false, given_back = false;
  std::uint32_t host = 0, streams = 0;
  std::atomic<std::uint64_t> bytes_ = 0;
};

struct DoormanOptions {
  std::string address;                    // HOST:PORT; port 0: any free one
  std::string door = "the agents' door";  // as sentences name it
  std::string who = "host number";        // whom a number is of
  // Takes the descriptor over; on a thread of the doorman's.
  std::function<void(int, const std::shared_ptr<Visitor>&)> let_in;
  std::function<void(const std::string&)> say = [](const std::string&) {};
  DoormanLimits limits{};
};

class Doorman {
 public:
  static Result<std::unique_ptr<Doorman>> open(DoormanOptions options);
  ~Doorman();

  std::uint16_t port() const;
  void start();
  void stop();  // nobody is let in any more; who is inside stays
  // A known host opened a stream over the connection from `peer` (as gRPC writes it). Null: it has
  // flooded the door and waits its time.
  std::shared_ptr<Visitor> prove(const std::string& peer, std::uint32_t host);
  bool prove(Visitor& visitor, std::uint32_t host);
  // Its handshake was worth it, whoever it is.
  void give_back(Visitor& visitor);
  // Whoever was let in is done with it; what was sent still arrives.
  void leave(Visitor& visitor);
  // It was cut off: what still comes of it is worth no work.
  bool is_leaving(const std::string& peer) const;
  DoormanCounters counters() const;

 private:
  class Watch;
  explicit Doorman(std::unique_ptr<Watch> watch);
  std::unique_ptr<Watch> watch_;
};

}  // namespace weir
