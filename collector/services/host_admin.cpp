// HostAdminService: who is in the fleet, who no longer is, and what is asked of one.
#include <fmt/format.h>
#include <grpcpp/support/server_callback.h>

#include "collector/api/principal.h"
#include "collector/services/awaited.h"
#include "collector/services/call.h"
#include "collector/services/messages.h"
#include "collector/services/services.h"
#include "weir/v1/admin.grpc.pb.h"

namespace weir {
namespace {

constexpr std::size_t kMaxReason = 1'000;

class HostAdmin final : public v1::HostAdminService::CallbackService {
 public:
  HostAdmin(ServiceParts parts, Pulse& pulse) : parts_(std::move(parts)), awaited_(pulse) {}

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
      for (const CommandRow& row : parts_.commands.of_host(host->row.number, wall_now_s()))
        to_proto(row, *response->add_commands());
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

  // Answers at once when it is refused here, or was answered before; else when the host answers.
  grpc::ServerUnaryReactor* SendCommand(grpc::CallbackServerContext* context,
                                        const v1::SendCommandRequest* request,
                                        v1::SendCommandResponse* response) override {
    Reply<CommandRow> sent =
        has_unknown_fields(*request)
            ? refuse(Refusal::Kind::invalid,
                     "the request has a field that this collector does not know")
            : send(*request, principal_of(*context).name);
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    if (!sent) {
      reactor->Finish(status_of(tl::unexpected(sent.error())));
      return reactor;
    }
    awaited_.finish_when(reactor, [this, id = sent->id, response] { return fill(id, *response); });
    return reactor;
  }

 private:
  Reply<CommandRow> send(const v1::SendCommandRequest& request, const std::string& by) {
    std::optional<HostView> host = parts_.hosts.find(request.host_id(), wall_now_s());
    if (!host) return no_host(request.host_id());
    if (host->row.revoked) return refuse(Refusal::Kind::conflict, "the host is revoked");
    return parts_.commands.send({host->row.number, host->row.id}, request.command(), by,
                                wall_now_s());
  }

  // True: there is a result.
  bool fill(const std::string& id, v1::SendCommandResponse& response) {
    std::optional<CommandRow> row = parts_.commands.find(id, wall_now_s());
    if (!row || row->result.empty()) return false;
    v1::CommandInfo info;
    to_proto(*row, info);
    *response.mutable_result() = info.result();
    return true;
  }

  static tl::unexpected<Refusal> no_host(const std::string& id) {
    return refuse(Refusal::Kind::not_found, fmt::format("there is no host {}", id));
  }

  const ServiceParts parts_;
  Awaited awaited_;
};

}  // namespace

std::unique_ptr<grpc::Service> make_host_admin(const ServiceParts& parts, Pulse& pulse) {
  return std::make_unique<HostAdmin>(parts, pulse);
}

}  // namespace weir
