// The gRPC server of the agents' door: TLS 1.3 with certificates of both sides, and a limit on all
// that a stranger or an agent can make it hold. Thread: any.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "collector/fleet/certificates.h"
#include "core/base/result.h"

namespace grpc {
class CallbackServerContext;
class Server;
class Service;
}  // namespace grpc

namespace weir {

struct AgentServerOptions {
  std::string address;               // HOST:PORT; port 0: any free one
  std::string ca, certificate, key;  // PEM
};

struct AgentServer {
  std::unique_ptr<grpc::Server> server;
  int port = 0;
};

// `service` outlives it.
Result<AgentServer> open_agent_server(const AgentServerOptions& options, grpc::Service& service);

// Of the verified peer; nothing: it is no host of ours.
std::optional<HostCertificate> peer_certificate(const grpc::CallbackServerContext& context);

}  // namespace weir
