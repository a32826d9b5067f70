// One stream to the agents' door: see stream.h. The one file of the uplink that speaks gRPC.
#include "agent/uplink/stream.h"

#include <fmt/format.h>
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/client_callback.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <utility>

#include "weir/v1/agent.grpc.pb.h"

namespace weir {
namespace {

constexpr int kKeepaliveMs = 10'000;  // asks after so long, gives up after as long again
constexpr int kConnectMs = 10'000;
constexpr std::chrono::seconds kStatusWithin{1};  // of a stream that is over: it is there at once
constexpr int kMaxReceive = 4 << 20;              // agent.proto's bound of a message
constexpr int kMaxMetadata = 8 << 10;

std::shared_ptr<grpc::Channel> channel_to(const StreamOptions& options) {
  grpc::SslCredentialsOptions tls{options.ca_pem, options.key_pem, options.certificate_pem};
  grpc::ChannelArguments arguments;
  arguments.SetSslTargetNameOverride(options.server_name);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // a new stream is a new connection
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);          // no environment redirects it
  arguments.SetInt(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kConnectMs);
  arguments.SetInt(GRPC_ARG_MAX_METADATA_SIZE, kMaxMetadata);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetMaxReceiveMessageSize(kMaxReceive);
  return grpc::CreateCustomChannel(options.address, grpc::SslCredentials(tls), arguments);
}

}  // namespace

class Stream::Call final : public grpc::ClientBidiReactor<v1::ConnectRequest, v1::ConnectResponse> {
 public:
  Call(const StreamOptions& options, int wake)
      : wake_(wake), channel_(channel_to(options)), stub_(v1::AgentService::NewStub(channel_)) {
    stub_->async()->Connect(&context_, this);
    AddHold();  // the owner's: it starts operations outside of reactions
    StartRead(&incoming_);
    StartCall();
  }

  void write(const v1::ConnectRequest& request) {
    {
      std::lock_guard lock(mutex_);
      writing_ = true;
    }
    outgoing_ = request;
    StartWrite(&outgoing_);
  }
  bool take(v1::ConnectResponse& response) {
    {
      std::lock_guard lock(mutex_);
      if (!came_) return false;
      came_ = false;
    }
    response.Swap(&incoming_);
    incoming_.Clear();
    StartRead(&incoming_);
    return true;
  }
  // Lets go, and waits for the status, which comes only then.
  void end() {
    if (std::exchange(held_, false)) RemoveHold();
    std::unique_lock lock(mutex_);
    if (failed_) done_.wait_for(lock, kStatusWithin, [this] { return is_done_; });
    if (is_done_) return;
    lock.unlock();
    context_.TryCancel();
    lock.lock();
    done_.wait(lock, [this] { return is_done_; });
  }

  bool may_write() const {
    std::lock_guard lock(mutex_);
    return !writing_ && !failed_ && !is_done_;
  }
  bool failed() const {
    std::lock_guard lock(mutex_);
    return failed_ || is_done_;
  }
  std::string why() const {
    std::lock_guard lock(mutex_);
    if (status_.ok()) return "the collector ended the stream";
    return fmt::format("{} (code {})", status_.error_message(),
                       static_cast<int>(status_.error_code()));
  }

  void OnReadDone(bool ok) override {
    std::lock_guard lock(mutex_);
    (ok ? came_ : failed_) = true;
    bump();
  }
  void OnWriteDone(bool ok) override {
    std::lock_guard lock(mutex_);
    writing_ = false;
    if (!ok) failed_ = true;
    bump();
  }
  void OnDone(const grpc::Status& status) override {
    std::lock_guard lock(mutex_);
    status_ = status;
    is_done_ = true;
    bump();
    done_.notify_all();
  }

 private:
  void bump() const {
    const std::uint64_t one = 1;
    (void)!::write(wake_, &one, sizeof one);
  }

  const int wake_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::AgentService::Stub> stub_;
  grpc::ClientContext context_;
  v1::ConnectRequest outgoing_;
  v1::ConnectResponse incoming_;
  mutable std::mutex mutex_;
  std::condition_variable done_;
  bool held_ = true;  // the owner's
  bool writing_ = false, came_ = false, failed_ = false, is_done_ = false;
  grpc::Status status_;
};

Stream::Stream(const StreamOptions& options, int wake)
    : call_(std::make_unique<Call>(options, wake)) {}

Stream::~Stream() {
  if (call_) call_->end();
}

bool Stream::may_write() const {
  return call_->may_write();
}
void Stream::write(const v1::ConnectRequest& request) {
  call_->write(request);
}
bool Stream::take(v1::ConnectResponse& response) {
  return call_->take(response);
}
bool Stream::ended() const {
  return call_->failed();
}
std::string Stream::why() {
  call_->end();
  return call_->why();
}

// The library has no setting for these. The list of cipher suites is that of TLS 1.2 alone: one
// suite that wants an RSA certificate, which no collector of ours has, leaves only TLS 1.3.
void prepare_streams() {
  ::setenv("GRPC_DNS_RESOLVER", "native", 1);
  ::setenv("GRPC_SSL_CIPHER_SUITES", "ECDHE-RSA-AES256-GCM-SHA384", 1);
  ::unsetenv("GRPC_TRACE");
  ::setenv("GRPC_VERBOSITY", "NONE", 1);
}

}  // namespace weir
