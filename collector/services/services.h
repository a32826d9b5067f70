// The gRPC services behind the console door: the only implementation of the API. They stand on a
// grpc::Server without a port; whoever calls them comes through its in-process channel and was
// authorised before. Thread: any; one thread of its own answers who waits or watches.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "collector/fleet/enrolment.h"
#include "collector/fleet/host_commands.h"
#include "collector/fleet/hosts.h"
#include "collector/rollout/rollout.h"
#include "collector/store/record_store.h"
#include "collector/store/report_reader.h"

namespace grpc {
class Server;
class Service;
}  // namespace grpc

namespace weir {

class Pulse;

struct ServiceParts {  // all of it outlives the services
  FleetStore& store;
  Hosts& hosts;
  Enrolment& enrolment;
  Rollout& rollout;
  HostCommands& commands;
  ReportReader& reports;
  std::string folder;  // DIR, of the records
  std::function<void(std::uint32_t host, const std::string& sentence)> close_host;
  std::function<void(const std::string& group)> push_policy;
  // What tokens and enrolled hosts are told.
  std::string console_host, console_key_sha256;    // its key: SHA-256, 32 bytes
  const std::atomic<std::uint16_t>& console_port;  // known once the door is open
  std::string agent_address;                       // HOST:PORT
  std::string agent_ca;                            // DER
};

class Services {
 public:
  static Result<std::unique_ptr<Services>> start(const ServiceParts& parts);
  ~Services();  // as stop()

  grpc::Server& server();
  // New reports, or a host that changed: who waits for it is answered. Never waits itself.
  void poke();
  void stop();  // ends what waits or watches

 private:
  struct State;
  explicit Services(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// One file each. The pulse outlives them and ends first.
std::unique_ptr<grpc::Service> make_enrol_service(const ServiceParts& parts);
std::unique_ptr<grpc::Service> make_token_admin(const ServiceParts& parts);
std::unique_ptr<grpc::Service> make_host_admin(const ServiceParts& parts, Pulse& pulse);
std::unique_ptr<grpc::Service> make_policy_admin(const ServiceParts& parts, Pulse& pulse);
std::unique_ptr<grpc::Service> make_report_admin(const ServiceParts& parts, Pulse& pulse);
std::unique_ptr<grpc::Service> make_request_admin(const ServiceParts& parts, Pulse& pulse);
std::unique_ptr<grpc::Service> make_evidence_admin(const ServiceParts& parts);

}  // namespace weir
