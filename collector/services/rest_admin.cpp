// RequestAdminService and EvidenceAdminService: in the contract, not in this version. They say so.
#include <grpcpp/support/server_callback.h>

#include "collector/services/call.h"
#include "collector/services/services.h"
#include "weir/v1/admin.grpc.pb.h"

namespace weir {
namespace {

Reply<void> not_built(const char* sentence) {
  return refuse(Refusal::Kind::not_built, sentence);
}

class RequestAdmin final : public v1::RequestAdminService::CallbackService {
 public:
  grpc::ServerUnaryReactor* ListRequests(grpc::CallbackServerContext* context,
                                         const v1::ListRequestsRequest* request,
                                         v1::ListRequestsResponse*) override {
    return answer(context, *request,
                  [] { return not_built("this version takes no requests for exceptions"); });
  }
  grpc::ServerUnaryReactor* DecideRequest(grpc::CallbackServerContext* context,
                                          const v1::DecideRequestRequest* request,
                                          v1::DecideRequestResponse*) override {
    return answer(context, *request,
                  [] { return not_built("this version takes no requests for exceptions"); });
  }
};

class EvidenceAdmin final : public v1::EvidenceAdminService::CallbackService {
 public:
  grpc::ServerUnaryReactor* VerifyEvidence(grpc::CallbackServerContext* context,
                                           const v1::VerifyEvidenceRequest* request,
                                           v1::VerifyEvidenceResponse*) override {
    return answer(context, *request,
                  [] { return not_built("this version can't walk the chain of records"); });
  }
};

}  // namespace

std::unique_ptr<grpc::Service> make_request_admin(const ServiceParts&) {
  return std::make_unique<RequestAdmin>();
}
std::unique_ptr<grpc::Service> make_evidence_admin(const ServiceParts&) {
  return std::make_unique<EvidenceAdmin>();
}

}  // namespace weir
