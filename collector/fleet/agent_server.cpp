// The gRPC server of the agents' door: see agent_server.h.
#include "collector/fleet/agent_server.h"

#include <fmt/format.h>
#include <grpc/grpc_security_constants.h>
#include <grpc/support/log.h>
#include <grpcpp/impl/service_type.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/security/auth_context.h>
#include <grpcpp/security/auth_metadata_processor.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <mutex>
#include <string_view>
#include <unordered_map>

#include "collector/fleet/batch_reader.h"

namespace weir {
namespace {

constexpr int kKeepaliveMs = 10'000;  // a dead peer is known after twice this
constexpr int kHandshakeMs = 5'000;
constexpr int kAgeGraceMs = 10'000;  // streams of a connection that is old end by then
constexpr int kIdleMs = 30'000;      // of a connection without a stream
// Pings are the doorman's to count: with strikes gRPC keeps an error and a GOAWAY, 900 bytes, for
// each ping that comes after the last one, as long as the peer reads nothing.
constexpr int kAnyPings = 0;
constexpr int kMaxStreamsOfConnection = 2;  // a stream and the one that replaces it
// What may be on its way of a stream at first. The library measures the line and lets more come:
// without that a host 100 ms away brings 0.9 MB/s (64 KiB of all streams each time), with it 18
// times as much. What it brings that is no message yet the doorman bounds.
constexpr int kWindowBytes = 256 << 10;
constexpr int kMeasureLine = 1;
constexpr int kStreamsOfHost =
    64;  // a desk that can't stay opens one each second at first, then fewer
constexpr std::chrono::seconds kStreamsWithin{60};
constexpr std::size_t kMaxCounted = 100'000;  // certificates; the size of a fleet, ten times
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

// Streams that a certificate opens, counted where their headers are read: those that are too many
// never become calls, which gRPC would keep (5 KB each) until a thread comes to them.
class StreamBudget final : public grpc::AuthMetadataProcessor {
 public:
  bool IsBlocking() const override { return false; }
  grpc::Status Process(const InputMetadata&, grpc::AuthContext* context, OutputMetadata*,
                       OutputMetadata*) override {
    const auto pem = context->FindPropertyValues(GRPC_X509_PEM_CERT_PROPERTY_NAME);
    if (pem.empty()) return {grpc::StatusCode::UNAUTHENTICATED, "no certificate"};
    const std::size_t who = std::hash<std::string_view>{}({pem[0].data(), pem[0].size()});
    const auto now = std::chrono::steady_clock::now();
    std::lock_guard lock(mutex_);
    if (spent_.size() >= kMaxCounted) spent_.clear();
    auto& [streams, since] = spent_[who];
    if (now - since > kStreamsWithin) streams = 0, since = now;
    if (++streams <= kStreamsOfHost) return grpc::Status::OK;
    return {grpc::StatusCode::RESOURCE_EXHAUSTED, "too many streams: wait a minute"};
  }

 private:
  std::mutex mutex_;
  std::unordered_map<std::size_t, std::pair<int, std::chrono::steady_clock::time_point>> spent_;
};

std::shared_ptr<grpc::ServerCredentials> mutual_tls(const AgentServerOptions& options) {
  allow_only_tls_1_3();
  keep_strangers_out_of_the_log();
  grpc::SslServerCredentialsOptions tls(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  tls.pem_root_certs = options.ca;
  tls.pem_key_cert_pairs.push_back({options.key, options.certificate});
  auto credentials = grpc::SslServerCredentials(tls);
  credentials->SetAuthMetadataProcessor(std::make_shared<StreamBudget>());
  return credentials;
}

void set_limits(grpc::ServerBuilder& builder, int connection_age_ms) {
  grpc::ResourceQuota quota("agents");
  quota.Resize(kQuotaBytes);
  builder.SetResourceQuota(quota);
  builder.SetMaxReceiveMessageSize(static_cast<int>(kMaxMessageBytes));
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxStreamsOfConnection);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, kMeasureLine);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, kWindowBytes);
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMaxMetadataBytes);
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, kHandshakeMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PING_STRIKES, kAnyPings);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_MS, connection_age_ms);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS,
                             std::min(kAgeGraceMs, connection_age_ms));
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS, kIdleMs);
}

}  // namespace

Result<AgentServer> open_agent_server(const AgentServerOptions& options, grpc::Service& service) {
  AgentServer opened;
  grpc::ServerBuilder builder;
  builder.RegisterService(&service);
  set_limits(builder, options.connection_age_ms);
  std::shared_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor =
      builder.experimental().AddExternalConnectionAcceptor(
          grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD,
          mutual_tls(options));
  Result<std::unique_ptr<Doorman>> doorman = Doorman::open(
      {.address = options.address,
       .let_in =
           [in = acceptor.get()](int fd, const std::shared_ptr<Visitor>&) {
             grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters connection;
             connection.fd = fd;
             in->HandleNewConnection(&connection);
           },
       .say = options.say,
       .limits = options.doorman});
  if (!doorman) return tl::unexpected(doorman.error());
  opened.doorman = std::move(*doorman);
  opened.acceptor = std::move(acceptor);
  opened.server = builder.BuildAndStart();
  if (!opened.server)
    return fail(fmt::format("{}: the agents' door can't be opened", options.address));
  return opened;
}

grpc::ByteBuffer buffer_of(Outgoing outgoing) {
  std::array<grpc::Slice, 2> slices{grpc::Slice(outgoing.bytes), grpc::Slice()};
  if (!outgoing.shared) return {slices.data(), 1};
  using Held = std::shared_ptr<const std::string>;
  auto held = std::make_unique<Held>(std::move(outgoing.shared));
  auto* bytes = const_cast<char*>((*held)->data());  // nobody writes into a slice
  const std::size_t size = (*held)->size();
  slices[1] = grpc::Slice(
      bytes, size, [](void* user) { delete static_cast<Held*>(user); }, held.release());
  return {slices.data(), 2};
}

bool read_from(grpc::ByteBuffer& buffer, v1::ConnectRequest& request) {
  grpc::Slice whole;
  const bool read =
      buffer.DumpToSingleSlice(&whole).ok() &&
      read_request({reinterpret_cast<const char*>(whole.begin()), whole.size()}, request);
  buffer.Clear();
  return read;
}

std::optional<HostCertificate> peer_certificate(const grpc::CallbackServerContext& context) {
  auto auth = context.auth_context();
  if (!auth || !auth->IsPeerAuthenticated()) return std::nullopt;
  auto pem = auth->FindPropertyValues(GRPC_X509_PEM_CERT_PROPERTY_NAME);
  if (pem.size() != 1) return std::nullopt;
  return read_host_certificate(std::string(pem[0].data(), pem[0].size()));
}

grpc::Status standing_of(const std::optional<HostView>& host) {
  if (!host)
    return {grpc::StatusCode::UNAUTHENTICATED, "the certificate names no host of this fleet"};
  if (host->row.revoked) return {grpc::StatusCode::PERMISSION_DENIED, "the host is revoked"};
  if (host->row.cloned)
    return {grpc::StatusCode::FAILED_PRECONDITION,
            "two machines speak with this key: both are held"};
  return grpc::Status::OK;
}

}  // namespace weir
