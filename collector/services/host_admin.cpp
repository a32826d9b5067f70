// HostAdminService: who is in the fleet, and who no longer is.
#include <fmt/format.h>
#include <grpcpp/support/server_callback.h>

#include "collector/services/call.h"
#include "collector/services/messages.h"
#include "collector/services/services.h"
#include "weir/v1/admin.grpc.pb.h"

namespace weir {
namespace {

constexpr std::size_t kMaxReason = 1'000;

class HostAdmin final : public v1::HostAdminService::CallbackService {
 public:
  explicit HostAdmin(ServiceParts parts) : parts_(std::move(parts)) {}

  grpc::ServerUnaryReactor* ListHosts(grpc::CallbackServerContext* context,
                                      const v1::ListHostsRequest* request,
                                      v1::ListHostsResponse* response) override {
    return answer(context, *request, [&]() -> Reply<void> {
      const std::uint32_t limit = page_limit(request->limit());
      std::optional<HostState> state;
      if (request->state() != v1::HostInfo::STATE_UNSPECIFIED)
        state = static_cast<HostState>(request->state());
      for (const HostView& host :
           parts_.hosts.list(request->group(), state, request->page(), limit, wall_now_s()))
        to_proto(host, *response->add_hosts());
      if (response->hosts_size() == static_cast<int>(limit))
        response->set_next_page(response->hosts().rbegin()->host().id());
      return {};
    });
  }

  grpc::ServerUnaryReactor* GetHost(grpc::CallbackServerContext* context,
                                    const v1::GetHostRequest* request,
                                    v1::GetHostResponse* response) override {
    return answer(context, *request, [&]() -> Reply<void> {
      std::optional<HostView> host = parts_.hosts.find(request->id(), wall_now_s());
      if (!host) return no_host(request->id());
      to_proto(*host, *response->mutable_host());
      if (!host->row.health.empty())
        (void)response->mutable_health()->ParseFromString(host->row.health);
      return {};
    });
  }

  grpc::ServerUnaryReactor* RevokeHost(grpc::CallbackServerContext* context,
                                       const v1::RevokeHostRequest* request,
                                       v1::RevokeHostResponse* response) override {
    return answer(context, *request, [&]() -> Reply<void> {
      if (request->reason().size() > kMaxReason)
        return refuse(Refusal::Kind::invalid,
                      fmt::format("a reason has at most {} bytes", kMaxReason));
      Reply<void> revoked = parts_.hosts.revoke(request->id(), request->reason());
      if (!revoked) return revoked;
      std::optional<HostView> host = parts_.hosts.find(request->id(), wall_now_s());
      if (!host) return no_host(request->id());
      parts_.close_host(host->row.number, "the host is revoked");
      to_proto(*host, *response->mutable_host());
      return {};
    });
  }

  grpc::ServerUnaryReactor* SendCommand(grpc::CallbackServerContext* context,
                                        const v1::SendCommandRequest* request,
                                        v1::SendCommandResponse*) override {
    return answer(context, *request, []() -> Reply<void> {
      return refuse(Refusal::Kind::not_built, "this version sends no commands to hosts");
    });
  }

 private:
  static tl::unexpected<Refusal> no_host(const std::string& id) {
    return refuse(Refusal::Kind::not_found, fmt::format("there is no host {}", id));
  }

  const ServiceParts parts_;
};

}  // namespace

std::unique_ptr<grpc::Service> make_host_admin(const ServiceParts& parts) {
  return std::make_unique<HostAdmin>(parts);
}

}  // namespace weir
