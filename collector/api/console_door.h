// The console door: HTTPS (TLS 1.3), Connect protocol, in front of the services. It authenticates,
// authorises, and hands each call to a grpc::Server that has no port, through its in-process
// channel. Thread: start and stop by one thread; it has threads of its own.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "core/base/result.h"

namespace grpc {
class Server;
}

namespace weir {

struct ConsoleDoorOptions {
  std::string address;      // HOST:PORT to listen on; port 0: any free one
  std::string certificate;  // PEM, leaf first
  std::string key;          // PEM, of the leaf
  // Name of the principal that a bearer secret belongs to; the store has only the secret's hash.
  // Thread: any.
  std::function<std::optional<std::string>(const std::string& secret)> principal_by_secret;
};

class ConsoleDoor {
 public:
  virtual ~ConsoleDoor() = default;        // as stop()
  virtual std::uint16_t port() const = 0;  // that it listens on
  virtual void stop() = 0;  // closes the port, ends open calls, returns when all threads have ended
};

// `services` outlives the door.
Result<std::unique_ptr<ConsoleDoor>> start_console_door(ConsoleDoorOptions options,
                                                        grpc::Server& services);

}  // namespace weir
