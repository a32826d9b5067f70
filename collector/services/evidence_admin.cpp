// EvidenceAdminService: is what a host told still as it was told?
#include <fmt/format.h>
#include <grpcpp/support/server_callback.h>

#include <algorithm>

#include "collector/fleet/batch_reader.h"
#include "collector/services/call.h"
#include "collector/services/services.h"
#include "collector/store/evidence.h"
#include "weir/v1/admin.grpc.pb.h"

namespace weir {
namespace {

class EvidenceAdmin final : public v1::EvidenceAdminService::CallbackService {
 public:
  explicit EvidenceAdmin(ServiceParts parts) : parts_(std::move(parts)) {}

  grpc::ServerUnaryReactor* VerifyEvidence(grpc::CallbackServerContext* context,
                                           const v1::VerifyEvidenceRequest* request,
                                           v1::VerifyEvidenceResponse* response) override {
    return answer(context, *request, [&] { return verify(*request, *response); });
  }

 private:
  Reply<void> verify(const v1::VerifyEvidenceRequest& request,
                     v1::VerifyEvidenceResponse& response) {
    std::optional<HostView> host = parts_.hosts.find(request.host_id(), wall_now_s());
    if (!host)
      return refuse(Refusal::Kind::not_found,
                    fmt::format("there is no host {}", request.host_id()));
    const auto ms = [](const google::protobuf::Timestamp& time) {
      constexpr std::int64_t kLast = INT64_MAX / 1'000 - 1;
      return std::clamp<std::int64_t>(time.seconds(), 0, kLast) * 1'000;
    };
    Result<Evidence> found = walk_evidence(
        parts_.store, parts_.folder, host->row.number, request.has_from() ? ms(request.from()) : 0,
        request.has_to() ? ms(request.to()) : INT64_MAX, chain_hash);
    if (!found) return refuse(Refusal::Kind::unavailable, found.error().sentence);
    const auto count = [](std::uint64_t n) {
      return static_cast<std::uint32_t>(std::min<std::uint64_t>(n, UINT32_MAX));
    };
    response.set_records(count(found->records));
    response.set_gaps(count(found->gaps));
    for (const EvidenceGap& gap : found->missing) {
      v1::VerifyEvidenceResponse::Missing& out = *response.add_missing();
      out.mutable_first()->set_lane(static_cast<v1::Lane::Value>(gap.lane));
      out.mutable_first()->set_epoch(gap.epoch);
      out.mutable_first()->set_sequence(gap.first);
      out.set_last_sequence(gap.last);
      out.set_why(static_cast<v1::LostRange::Why>(gap.why));
      out.mutable_told()->set_seconds(gap.told_ms / 1'000);
    }
    for (EvidenceBreak& at : found->breaks) {
      v1::VerifyEvidenceResponse::Break& out = *response.add_breaks();
      out.mutable_at()->set_lane(static_cast<v1::Lane::Value>(at.lane));
      out.mutable_at()->set_epoch(at.epoch);
      out.mutable_at()->set_sequence(at.sequence);
      out.set_sentence(std::move(at.sentence));
    }
    return {};
  }

  const ServiceParts parts_;
};

}  // namespace

std::unique_ptr<grpc::Service> make_evidence_admin(const ServiceParts& parts) {
  return std::make_unique<EvidenceAdmin>(parts);
}

}  // namespace weir
