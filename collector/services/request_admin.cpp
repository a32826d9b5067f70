// RequestAdminService: what persons ask for, and what an administrator decides. A decision is a
// signed command: it is recorded in one transaction with its way to the host.
#include <fmt/format.h>
#include <grpcpp/support/server_callback.h>

#include <algorithm>
#include <charconv>
#include <mutex>

#include "collector/api/principal.h"
#include "collector/services/awaited.h"
#include "collector/services/call.h"
#include "collector/services/messages.h"
#include "collector/services/request_check.h"
#include "collector/services/services.h"
#include "weir/v1/admin.grpc.pb.h"

namespace weir {
namespace {

using Kind = Refusal::Kind;

// A request has at most 8 KiB of its host, and what is decided as much: some hundreds of KiB.
constexpr std::uint32_t kMostInPage = 50;

class RequestAdmin final : public v1::RequestAdminService::CallbackService {
 public:
  RequestAdmin(ServiceParts parts, Pulse& pulse) : parts_(std::move(parts)), awaited_(pulse) {}

  grpc::ServerUnaryReactor* ListRequests(grpc::CallbackServerContext* context,
                                         const v1::ListRequestsRequest* request,
                                         v1::ListRequestsResponse* response) override {
    return answer(context, *request, [&] { return list(*request, *response); });
  }

  // Answers at once when it is refused here, or was answered before; else when the host answers.
  grpc::ServerUnaryReactor* DecideRequest(grpc::CallbackServerContext* context,
                                          const v1::DecideRequestRequest* request,
                                          v1::DecideRequestResponse* response) override {
    Reply<void> done =
        has_unknown_fields(*request)
            ? refuse(Kind::invalid, "the request has a field that this collector does not know")
            : decide(*request, principal_of(*context).name);
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    if (!done) {
      reactor->Finish(status_of(done));
      return reactor;
    }
    awaited_.finish_when(reactor, [this, id = request->id(), response] {
      std::optional<RequestRow> row = parts_.store.request(id, wall_now_s());
      if (row) show(*row, *response->mutable_request());
      return !row || response->request().has_result();
    });
    return reactor;
  }

 private:
  Reply<void> list(const v1::ListRequestsRequest& request, v1::ListRequestsResponse& response) {
    const std::int64_t now_s = wall_now_s();
    if (!request.id().empty()) {
      if (std::optional<RequestRow> row = parts_.store.request(request.id(), now_s))
        show(*row, *response.add_requests());
      return {};
    }
    std::int64_t before = INT64_MAX;
    const std::string& page = request.page();
    if (!page.empty()) {
      const char* end = page.data() + page.size();
      if (auto read = std::from_chars(page.data(), end, before);
          read.ec != std::errc() || read.ptr != end)
        return refuse(Kind::invalid, "no page that this collector gave");
    }
    const std::uint32_t limit = std::min(page_limit(request.limit()), kMostInPage);
    for (const RequestRow& row :
         parts_.store.requests(static_cast<int>(request.state()), before, limit, now_s)) {
      show(row, *response.add_requests());
      before = row.row;
    }
    if (response.requests_size() == static_cast<int>(limit))
      response.set_next_page(fmt::to_string(before));
    return {};
  }

  Reply<void> decide(const v1::DecideRequestRequest& request, const std::string& by) {
    const std::int64_t now_s = wall_now_s();
    std::lock_guard lock(deciding_);  // of two decisions the first counts
    std::optional<RequestRow> row = parts_.store.request(request.id(), now_s);
    if (!row)
      return refuse(Kind::not_found, fmt::format("there is no request {}", shown_id(request.id())));
    if (!row->command.empty() && row->command == request.command().id()) return {};  // asked again
    if (Reply<void> open = check_open(*row, now_s); !open) return open;
    std::optional<HostView> host = parts_.hosts.find(row->host, now_s);
    if (!host || host->row.revoked) return refuse(Kind::conflict, "the host is revoked");
    Reply<RequestRow> after = decided(*row, request, by, now_s);
    if (!after) return tl::unexpected(after.error());
    Reply<CommandRow> sent =
        parts_.commands.send({row->host, host->row.id}, request.command(), by, now_s, &*after);
    if (!sent) return tl::unexpected(sent.error());
    row = parts_.store.request(request.id(), now_s);
    if (!row || row->command != sent->id)
      return refuse(Kind::conflict, "this command was sent before, by itself");
    return {};
  }

  // One whose host refused what was decided, or did not get it in time, was decided for nothing.
  Reply<void> check_open(const RequestRow& row, std::int64_t now_s) {
    if (row.decided_s == 0) {
      if (row.state == v1::RequestInfo::open) return {};
      return refuse(Kind::conflict, row.note.empty()
                                        ? "the request has expired: nobody decided in time"
                                        : fmt::format("the request has expired: {}", row.note));
    }
    std::optional<CommandRow> command = parts_.commands.find(row.command, now_s);
    v1::CommandResult result;
    if (command && result.ParseFromString(command->result) &&
        (result.outcome() == v1::CommandResult::refused ||
         result.outcome() == v1::CommandResult::expired))
      return {};
    return refuse(Kind::conflict,
                  fmt::format("{} has {} the request already{}", row.decided_by,
                              row.exception.empty() ? "denied" : "approved",
                              row.state == v1::RequestInfo::expired
                                  ? ", and the exception has ended: it has to be asked anew"
                                  : ""));
  }

  void show(const RequestRow& row, v1::RequestInfo& out) {
    const std::int64_t now_s = wall_now_s();
    out.Clear();
    (void)out.mutable_request()->ParseFromString(row.request);
    if (std::optional<HostView> host = parts_.hosts.find(row.host, now_s)) {
      out.mutable_host()->set_id(host->row.id);
      out.mutable_host()->set_name(host->row.name);
    }
    out.set_state(static_cast<v1::RequestInfo::State>(row.state));
    out.set_note(row.note);
    out.mutable_received()->set_seconds(row.received_s);
    out.mutable_ends()->set_seconds(row.ends_s);
    if (row.decided_s == 0) return;
    out.set_decided_by(row.decided_by);
    out.mutable_decided()->set_seconds(row.decided_s);
    if (!row.exception.empty()) (void)out.mutable_exception()->ParseFromString(row.exception);
    if (std::optional<CommandRow> command = parts_.commands.find(row.command, now_s);
        command && !command->result.empty()) {
      v1::CommandInfo info;
      to_proto(*command, info);
      *out.mutable_result() = std::move(*info.mutable_result());
    }
  }

  static std::string shown_id(const std::string& id) { return id.substr(0, 64); }

  const ServiceParts parts_;
  std::mutex deciding_;
  Awaited awaited_;
};

}  // namespace

std::unique_ptr<grpc::Service> make_request_admin(const ServiceParts& parts, Pulse& pulse) {
  return std::make_unique<RequestAdmin>(parts, pulse);
}

}  // namespace weir
