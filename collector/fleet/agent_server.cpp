// The gRPC server of the agents' door: see agent_server.h.
#include "collector/fleet/agent_server.h"

#include <fmt/format.h>
#include <grpc/grpc_security_constants.h>
#include <grpc/support/log.h>
#include <grpcpp/impl/service_type.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <grpcpp/server_context.h>

#include <cstdlib>

#include "collector/fleet/batch_reader.h"

namespace weir {
namespace {

constexpr int kKeepaliveMs = 10'000;         // a dead peer is known after twice this
constexpr int kLeastPingIntervalMs = 5'000;  // agents ping every 10 s
constexpr int kHandshakeMs = 5'000;
constexpr int kMaxStreamsOfConnection = 2;  // a stream and the one that replaces it
constexpr int kMaxMetadataBytes = 8 << 10;
constexpr std::size_t kQuotaBytes = std::size_t{2} << 30;  // 120 KiB a stream, 16,000 streams

// gRPC 1.51 takes TLS 1.2 too and has no setting against it. Its list of cipher suites is that of
// TLS 1.2 alone; one suite that wants an RSA certificate, which this door has not, leaves only
// TLS 1.3.
void allow_only_tls_1_3() {
  ::setenv("GRPC_SSL_CIPHER_SUITES", "ECDHE-RSA-AES256-GCM-SHA384", 1);
}

// gRPC writes a line for each handshake that fails: strangers must not be able to fill a log.
void keep_strangers_out_of_the_log() {
  gpr_set_log_function([](gpr_log_func_args*) {});
}

}  // namespace

Result<AgentServer> open_agent_server(const AgentServerOptions& options, grpc::Service& service) {
  allow_only_tls_1_3();
  keep_strangers_out_of_the_log();
  grpc::SslServerCredentialsOptions tls(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  tls.pem_root_certs = options.ca;
  tls.pem_key_cert_pairs.push_back({options.key, options.certificate});
  grpc::ResourceQuota quota("agents");
  quota.Resize(kQuotaBytes);
  AgentServer opened;
  grpc::ServerBuilder builder;
  builder.AddListeningPort(options.address, grpc::SslServerCredentials(tls), &opened.port);
  builder.RegisterService(&service);
  builder.SetResourceQuota(quota);
  builder.SetMaxReceiveMessageSize(static_cast<int>(kMaxMessageBytes));
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxStreamsOfConnection);
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMaxMetadataBytes);
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, kHandshakeMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                             kLeastPingIntervalMs);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  opened.server = builder.BuildAndStart();
  if (!opened.server || opened.port == 0)
    return fail(fmt::format("{}: the agents' door can't listen there", options.address));
  return opened;
}

std::optional<HostCertificate> peer_certificate(const grpc::CallbackServerContext& context) {
  auto auth = context.auth_context();
  if (!auth || !auth->IsPeerAuthenticated()) return std::nullopt;
  auto pem = auth->FindPropertyValues(GRPC_X509_PEM_CERT_PROPERTY_NAME);
  if (pem.size() != 1) return std::nullopt;
  return read_host_certificate(std::string(pem[0].data(), pem[0].size()));
}

}  // namespace weir
