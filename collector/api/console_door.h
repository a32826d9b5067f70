// The console door: HTTPS (TLS 1.3), Connect protocol, in front of the services. It authenticates,
// authorises, and hands each call to a grpc::Server that has no port, through its in-process
// channel. A doorman stands before it, as before the agents' door: strangers come in by turns, an
// administrator beside them is not kept out. Memory is bounded: what requests and answers hold
// together by Holdings, the rest by the number of connections. Thread: start and stop by one
// thread; it has threads of its own.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "core/base/result.h"
#include "platform/doorman/doorman.h"

namespace grpc {
class Server;
}

namespace weir {

DoormanLimits console_limits();

struct ConsoleDoorOptions {
  std::string address;      // HOST:PORT to listen on; port 0: any free one
  std::string certificate;  // PEM, leaf first
  std::string key;          // PEM, of the leaf
  // Name of the principal that a bearer secret belongs to; the store has only the secret's hash.
  // Thread: any.
  std::function<std::optional<std::string>(const std::string& secret)> principal_by_secret;
  std::function<void(const std::string&)> say = [](const std::string&) {};  // for the log
  DoormanLimits doorman = console_limits();
  std::chrono::seconds write_within{30};  // an answer, or a message of a stream
};

class ConsoleDoor {
 public:
  virtual ~ConsoleDoor() = default;        // as stop()
  virtual std::uint16_t port() const = 0;  // that it listens on
  virtual void stop() = 0;  // closes the port, ends open calls, returns when all threads have ended
  virtual DoormanCounters counters() const = 0;
};

// `services` outlives the door.
Result<std::unique_ptr<ConsoleDoor>> start_console_door(ConsoleDoorOptions options,
                                                        grpc::Server& services);

}  // namespace weir
