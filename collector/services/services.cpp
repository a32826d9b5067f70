// Puts the services on a server without a port.
#include "collector/services/services.h"

#include <grpcpp/impl/service_type.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <chrono>

#include "collector/services/pulse.h"

namespace weir {
namespace {

constexpr int kMaxCallBytes = 2 << 20;  // a signed policy has at most 1 MiB

}  // namespace

struct Services::State {
  std::vector<std::unique_ptr<grpc::Service>> services;
  std::unique_ptr<grpc::Server> server;
  Pulse pulse;  // ends first: it looks into the services
};

Result<std::unique_ptr<Services>> Services::start(const ServiceParts& parts) {
  auto state = std::make_unique<State>();
  state->services.push_back(make_enrol_service(parts));
  state->services.push_back(make_token_admin(parts));
  state->services.push_back(make_host_admin(parts, state->pulse));
  state->services.push_back(make_policy_admin(parts, state->pulse));
  state->services.push_back(make_report_admin(parts, state->pulse));
  state->services.push_back(make_request_admin(parts, state->pulse));
  state->services.push_back(make_evidence_admin(parts));
  grpc::ServerBuilder builder;
  builder.SetMaxReceiveMessageSize(kMaxCallBytes);
  for (const auto& service : state->services) builder.RegisterService(service.get());
  state->server = builder.BuildAndStart();
  if (!state->server) return fail("the services could not be started");
  return std::unique_ptr<Services>(new Services(std::move(state)));
}

Services::Services(std::unique_ptr<State> state) : state_(std::move(state)) {}
Services::~Services() {
  stop();
}
grpc::Server& Services::server() {
  return *state_->server;
}
void Services::poke() {
  state_->pulse.poke();
}

void Services::stop() {
  state_->pulse.stop();
  if (!state_->server) return;
  state_->server->Shutdown(std::chrono::system_clock::now());
  state_->server->Wait();
  state_->server.reset();
}

}  // namespace weir
