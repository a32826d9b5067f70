// Calls to the services that live in this process: a grpc::Server without a port, through its
// in-process channel. Messages are serialized and opaque. Callbacks come on gRPC's threads, one at
// a time for one call. Thread: any.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

namespace grpc {
class Server;
}

namespace weir {

struct CallOutcome {
  int code = 0;          // gRPC's; 0: done
  std::string sentence;  // of an error
  std::string answer;    // serialized; of a unary call
};

struct Call {
  std::string method;     // "weir.v1.EnrolService/Enrol"
  std::string principal;  // "": nobody
  std::string request;    // serialized
};

// A stream from a service. Nothing is read ahead: a client that reads slowly holds one message
// here.
class ServiceStream {
 public:
  virtual ~ServiceStream() = default;
  virtual void next() = 0;    // asks for one more message; not before the last one came
  virtual void cancel() = 0;  // on_end comes still
};

class ServiceCalls {
 public:
  explicit ServiceCalls(grpc::Server& services);
  ~ServiceCalls();

  // The result cancels the call; `done` comes still.
  std::function<void()> unary(const Call& call, std::chrono::seconds limit,
                              std::function<void(CallOutcome)> done);
  std::shared_ptr<ServiceStream> stream(const Call& call,
                                        std::function<void(std::string)> on_message,
                                        std::function<void(CallOutcome)> on_end);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace weir
