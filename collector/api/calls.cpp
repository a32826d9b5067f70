// Calls to the services of this process: see calls.h.
#include "collector/api/calls.h"

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <mutex>
#include <vector>

#include "collector/api/principal.h"

namespace weir {
namespace {

grpc::ByteBuffer buffer_of(const std::string& bytes) {
  grpc::Slice slice(bytes);
  return {&slice, 1};
}

std::string bytes_of(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  std::string bytes;
  if (!buffer.Dump(&slices).ok()) return bytes;
  bytes.reserve(buffer.Length());
  for (const grpc::Slice& slice : slices)
    bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  return bytes;
}

CallOutcome outcome_of(const grpc::Status& status) {
  return {static_cast<int>(status.error_code()), status.error_message(), {}};
}

struct UnaryState {
  grpc::ClientContext context;
  grpc::ByteBuffer request, answer;
};

class Stream : public ServiceStream,
               public grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  Stream(const Call& call, std::function<void(std::string)> on_message,
         std::function<void(CallOutcome)> on_end)
      : request_(buffer_of(call.request)),
        on_message_(std::move(on_message)),
        on_end_(std::move(on_end)) {
    context_.AddMetadata(kPrincipalKey, call.principal);
  }

  void begin(grpc::GenericStub& stub, const std::string& method, std::shared_ptr<Stream> self) {
    self_ = std::move(self);
    stub.PrepareBidiStreamingCall(&context_, "/" + method, {}, this);
    AddHold();  // next() reads from outside of the reactions
    StartWriteLast(&request_, {});
    StartCall();
  }

  void next() override {
    std::lock_guard lock(mutex_);
    if (ended_ || reading_) return;
    reading_ = true;
    StartRead(&message_);
  }

  void cancel() override {
    context_.TryCancel();
    std::lock_guard lock(mutex_);
    if (!reading_) end();
  }

  void OnReadDone(bool ok) override {
    {
      std::lock_guard lock(mutex_);
      reading_ = false;
      if (!ok) end();
    }
    if (ok) on_message_(bytes_of(message_));
  }

  void OnDone(const grpc::Status& status) override {
    on_end_(outcome_of(status));
    self_.reset();
  }

 private:
  void end() {
    if (std::exchange(ended_, true)) return;
    RemoveHold();
  }

  grpc::ClientContext context_;
  grpc::ByteBuffer request_, message_;
  std::function<void(std::string)> on_message_;
  std::function<void(CallOutcome)> on_end_;
  std::mutex mutex_;
  bool reading_ = false, ended_ = false;
  std::shared_ptr<Stream> self_;  // until OnDone
};

}  // namespace

struct ServiceCalls::State {
  explicit State(grpc::Server& services) : stub(services.InProcessChannel({})) {}
  grpc::GenericStub stub;
};

ServiceCalls::ServiceCalls(grpc::Server& services) : state_(std::make_unique<State>(services)) {}
ServiceCalls::~ServiceCalls() = default;

std::function<void()> ServiceCalls::unary(const Call& call, std::chrono::seconds limit,
                                          std::function<void(CallOutcome)> done) {
  auto state = std::make_shared<UnaryState>();
  state->context.AddMetadata(kPrincipalKey, call.principal);
  state->context.set_deadline(std::chrono::system_clock::now() + limit);
  state->request = buffer_of(call.request);
  state_->stub.UnaryCall(&state->context, "/" + call.method, {}, &state->request, &state->answer,
                         [state, done = std::move(done)](const grpc::Status& status) {
                           CallOutcome outcome = outcome_of(status);
                           if (status.ok()) outcome.answer = bytes_of(state->answer);
                           done(std::move(outcome));
                         });
  return [weak = std::weak_ptr(state)] {
    if (auto running = weak.lock()) running->context.TryCancel();
  };
}

std::shared_ptr<ServiceStream> ServiceCalls::stream(const Call& call,
                                                    std::function<void(std::string)> on_message,
                                                    std::function<void(CallOutcome)> on_end) {
  std::string method = call.method;
  auto stream = std::make_shared<Stream>(call, std::move(on_message), std::move(on_end));
  stream->begin(state_->stub, method, stream);
  return stream;
}

}  // namespace weir
