// TokenAdminService: what lets a host in.
#include <fmt/format.h>
#include <grpcpp/support/server_callback.h>

#include "collector/api/principal.h"
#include "collector/fleet/crypto.h"
#include "collector/services/call.h"
#include "collector/services/messages.h"
#include "collector/services/services.h"
#include "weir/v1/admin.grpc.pb.h"
#include "weir/v1/enrol.pb.h"

namespace weir {
namespace {

class TokenAdmin final : public v1::TokenAdminService::CallbackService {
 public:
  explicit TokenAdmin(ServiceParts parts) : parts_(std::move(parts)) {}

  grpc::ServerUnaryReactor* CreateToken(grpc::CallbackServerContext* context,
                                        const v1::CreateTokenRequest* request,
                                        v1::CreateTokenResponse* response) override {
    return answer(context, *request, [&]() -> Reply<void> {
      Reply<NewToken> token = parts_.enrolment.create_token(
          request->group(), request->max_uses(), request->lifetime_s(), principal_of(*context).name,
          wall_now_s());
      if (!token) return tl::unexpected(token.error());
      to_proto(token->row, *response->mutable_token());
      v1::EnrolToken text;
      text.set_address(fmt::format("{}:{}", parts_.console_host, parts_.console_port.load()));
      text.set_door_key_sha256(parts_.console_key_sha256);
      text.set_secret(token->secret);
      response->set_text("weir1." + base64url(bytes_of(text.SerializeAsString())));
      return {};
    });
  }

  grpc::ServerUnaryReactor* ListTokens(grpc::CallbackServerContext* context,
                                       const v1::ListTokensRequest* request,
                                       v1::ListTokensResponse* response) override {
    return answer(context, *request, [&]() -> Reply<void> {
      const std::uint32_t limit = page_limit(request->limit());
      for (const TokenRow& token : parts_.store.tokens(request->page(), limit))
        to_proto(token, *response->add_tokens());
      if (response->tokens_size() == static_cast<int>(limit))
        response->set_next_page(response->tokens().rbegin()->id());
      return {};
    });
  }

  grpc::ServerUnaryReactor* RevokeToken(grpc::CallbackServerContext* context,
                                        const v1::RevokeTokenRequest* request,
                                        v1::RevokeTokenResponse* response) override {
    return answer(context, *request, [&]() -> Reply<void> {
      std::optional<TokenRow> token = parts_.store.revoke_token(request->id());
      if (!token)
        return refuse(Refusal::Kind::not_found, fmt::format("there is no token {}", request->id()));
      to_proto(*token, *response->mutable_token());
      return {};
    });
  }

 private:
  const ServiceParts parts_;
};

}  // namespace

std::unique_ptr<grpc::Service> make_token_admin(const ServiceParts& parts) {
  return std::make_unique<TokenAdmin>(parts);
}

}  // namespace weir
