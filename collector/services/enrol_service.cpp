// EnrolService: the one service that is reached without a session; each call brings its own proof.
#include <fmt/format.h>
#include <grpcpp/support/server_callback.h>

#include "collector/services/call.h"
#include "collector/services/services.h"
#include "weir/v1/enrol.grpc.pb.h"

namespace weir {
namespace {

void fill(const IssuedCertificate& issued, v1::Certificate& out) {
  for (const std::string& der : issued.chain) out.add_chain(der);
  out.mutable_not_after()->set_seconds(issued.not_after_s);
  out.mutable_renew_after()->set_seconds(issued.renew_after_s);
}

class EnrolService final : public v1::EnrolService::CallbackService {
 public:
  explicit EnrolService(ServiceParts parts) : parts_(std::move(parts)) {}

  // Agents may be newer than the collector: here unknown fields are ignored.
  grpc::ServerUnaryReactor* Enrol(grpc::CallbackServerContext* context,
                                  const v1::EnrolRequest* request,
                                  v1::EnrolResponse* response) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(status_of(enrol(*request, *response)));
    return reactor;
  }

  grpc::ServerUnaryReactor* Renew(grpc::CallbackServerContext* context,
                                  const v1::RenewRequest* request,
                                  v1::RenewResponse* response) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    Reply<IssuedCertificate> issued =
        parts_.enrolment.renew({.csr = request->csr(),
                                .old_certificate = request->old_certificate(),
                                .proof = request->proof(),
                                .nonce = request->nonce()},
                               wall_now_s());
    if (issued) fill(*issued, *response->mutable_certificate());
    reactor->Finish(status_of(issued ? Reply<void>() : tl::unexpected(issued.error())));
    return reactor;
  }

 private:
  Reply<void> enrol(const v1::EnrolRequest& request, v1::EnrolResponse& response) {
    Reply<IssuedCertificate> issued =
        parts_.enrolment.enrol({.secret = request.secret(),
                                .csr = request.csr(),
                                .hostname = request.hostname(),
                                .machine_id_digest = request.machine_id_digest(),
                                .version = request.version()},
                               wall_now_s());
    if (!issued) return tl::unexpected(issued.error());
    response.set_host_id(issued->host_id);
    fill(*issued, *response.mutable_certificate());
    response.add_agent_ca(parts_.agent_ca);
    response.set_agent_address(parts_.agent_address);
    response.set_agent_server_name(kAgentServerName);
    response.set_group(issued->group);
    const PolicyTrustRow trust = parts_.store.policy_trust();
    response.set_policy_threshold(trust.threshold);
    response.set_policy_trust_number(trust.number);
    for (const PolicyKeyRow& key : trust.keys) {
      v1::PolicyKey& out = *response.add_policy_keys();
      out.set_key_id(key.key_id);
      out.set_public_key(key.public_key);
      out.set_expires_wall_s(key.expires_s);
    }
    return {};
  }

  const ServiceParts parts_;
};

}  // namespace

std::unique_ptr<grpc::Service> make_enrol_service(const ServiceParts& parts) {
  return std::make_unique<EnrolService>(parts);
}

}  // namespace weir
