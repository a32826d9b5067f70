// The gRPC server of the agents' door: TLS 1.3 with certificates of both sides, and a limit on all
// that a stranger or an agent can make it hold. Thread: any.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "collector/fleet/certificates.h"
#include "collector/fleet/hosts.h"
#include "collector/fleet/outbox.h"
#include "core/base/result.h"
#include "platform/doorman/doorman.h"

namespace grpc {
class ByteBuffer;
class CallbackServerContext;
class Server;
class Service;
class Status;
}  // namespace grpc

namespace weir {

namespace v1 {
class ConnectRequest;
}

struct AgentServerOptions {
  std::string address;               // HOST:PORT; port 0: any free one
  std::string ca, certificate, key;  // PEM
  int connection_age_ms = 0;
  DoormanLimits doorman{};
  std::function<void(const std::string&)> say;
};

struct AgentServer {
  std::unique_ptr<grpc::Server> server;
  std::shared_ptr<void> acceptor;    // of the server; outlives the doorman
  std::unique_ptr<Doorman> doorman;  // to be started
};

// `service` outlives it.
Result<AgentServer> open_agent_server(const AgentServerOptions& options, grpc::Service& service);

// What is sent, without a copy of what streams share.
grpc::ByteBuffer buffer_of(Outgoing outgoing);
// What came, read; lets go of the buffer. False: see read_request().
bool read_from(grpc::ByteBuffer& buffer, v1::ConnectRequest& request);

// Of the verified peer; nothing: it is no host of ours.
std::optional<HostCertificate> peer_certificate(const grpc::CallbackServerContext& context);
// May this host, if it is one, have a stream?
grpc::Status standing_of(const std::optional<HostView>& host);

}  // namespace weir
