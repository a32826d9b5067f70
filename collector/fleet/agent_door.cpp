// Streams of agents. The one file of the fleet that speaks gRPC.
#include "collector/fleet/agent_door.h"

#include <fmt/format.h>
#include <grpcpp/server.h>
#include <grpcpp/support/byte_buffer.h>

#include <chrono>
#include <condition_variable>
#include <set>
#include <thread>
#include <unordered_map>
#include <utility>

#include "collector/base/clocks.h"
#include "collector/fleet/agent_server.h"
#include "collector/fleet/agent_told.h"
#include "collector/fleet/batch_reader.h"
#include "collector/fleet/forgotten.h"
#include "collector/fleet/outbox.h"
#include "weir/v1/agent.grpc.pb.h"

namespace weir {
namespace {

constexpr int kMaxInFlight = 4;  // batches of one stream that wait for the disk
constexpr std::uint32_t kThrottleMs = 1'000;
constexpr std::chrono::milliseconds kTick{50};
constexpr std::int64_t kLookMs = 250;  // after streams that say nothing
constexpr std::int64_t kFlushMs = 1'000;
constexpr std::int64_t kWriteWithinMs = 60'000;  // the largest policy takes 17 KB/s
constexpr std::int64_t kFinishWithinMs = 2'000;  // then the stream is cancelled

using Reactor = grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>;
}  // namespace

// Between a batch that waits for the disk and the door, which may be closed by then: a full disk
// must not keep the collector from ending.
struct AgentDoor::Link {
  std::mutex mutex;
  Service* service = nullptr;  // null: closed
};

class AgentDoor::Service final
    : public v1::AgentService::WithRawCallbackMethod_Connect<v1::AgentService::Service> {
 public:
  Service(AgentDoorOptions options, Parts parts) : options_(std::move(options)), parts_(parts) {
    link_->service = this;
  }

  Result<void> start();
  void stop();
  std::uint16_t port() const { return server_.doorman->port(); }
  void push_policy(const std::string& group);
  void push_commands(std::uint32_t number);
  void push_trust();
  void close_host(std::uint32_t number, const std::string& sentence);
  AgentDoorCounters counters() const;

 private:
  class Stream;

  Reactor* Connect(grpc::CallbackServerContext* context) override;

  void stored(std::uint64_t stream, const Appended& appended);
  void greet(Stream& stream, const v1::Hello& hello);
  void look_after();
  void look_after(Stream& stream, std::int64_t now_ms, std::int64_t now_s);
  void check_standing(Stream& stream, std::int64_t now_s);
  void send_commands(Stream& stream, std::int64_t now_ms);
  void send_trust(Stream& stream);
  void send_policy(Stream& stream);

  const AgentDoorOptions options_;
  Parts parts_;
  const std::shared_ptr<Link> link_ = std::make_shared<Link>();
  AgentServer server_;

  // Guards the streams and all that they hold but what their reader is working on.
  mutable std::mutex mutex_;
  std::condition_variable ended_;
  std::unordered_map<std::uint64_t, Stream*> streams_;
  std::unordered_multimap<std::uint32_t, Stream*> of_hosts_;  // those that were taken
  std::size_t held_ = 0;             // streams with a batch that the store had no room for
  std::set<std::uint32_t> said_of_;  // hosts that remember more than the store; said once
  std::uint64_t next_stream_ = 1;
  AgentDoorCounters counters_;
  bool stopping_ = false;
  std::thread keeper_;
};

class AgentDoor::Service::Stream final : public Reactor {
 public:
  Stream(Service& service, grpc::CallbackServerContext* context)
      : service_(service), context_(context), opened_ms_(steady_ms()) {}

  // All but the three callbacks are called with the service's lock held.
  void pump() {
    if (writing_ms_ != 0 || finishing_ms_ != 0) return;
    std::optional<Outgoing> next = outbox_.next();
    if (!next) return;
    writing_ms_ = steady_ms();
    response_ = buffer_of(std::move(*next));
    StartWrite(&response_);
  }
  void finish(grpc::StatusCode code, const std::string& sentence) {
    if (finishing_ms_ != 0) return;
    finishing_ms_ = steady_ms();
    let_go();
    Finish(grpc::Status(code, sentence));
  }
  // Hands a batch on; a full store keeps it here, and nothing more is read.
  void take(Append append) {
    const StoreLane lane = append.key.lane;
    append.forgotten_until = forgotten_.until(append);
    append.done = [link = service_.link_, number = number_](const Appended& appended) {
      std::lock_guard lock(link->mutex);
      if (link->service != nullptr) link->service->stored(number, appended);
    };
    if (service_.parts_.records.append(append)) {
      ++in_flight_;
      ++service_.counters_.batches;
      read_on();
      return;
    }
    held_ = std::move(append);
    ++service_.held_;
    retry_ms_ = steady_ms() + service_.options_.store_retry_ms;
    ++service_.counters_.throttled;
    outbox_.throttle(lane, kThrottleMs);
    pump();
  }
  std::optional<Append> let_go() {
    if (held_) --service_.held_;
    return std::exchange(held_, std::nullopt);
  }
  void read_on() {
    if (reading_ || held_ || in_flight_ >= kMaxInFlight || finishing_ms_ != 0) return;
    reading_ = true;
    StartRead(&request_);
  }

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override {
    std::lock_guard lock(service_.mutex_);
    writing_ms_ = 0;
    response_.Clear();
    if (!ok) finish(grpc::StatusCode::CANCELLED, "");
    pump();
  }
  void OnDone() override;

 private:
  friend class Service;

  Service& service_;
  grpc::CallbackServerContext* context_;
  std::shared_ptr<Visitor> visitor_;
  std::uint64_t number_ = 0;
  const std::int64_t opened_ms_;
  std::uint32_t host_ = 0;
  std::string host_id_;
  std::int64_t certificate_ends_s_ = 0;
  bool greeted_ = false, reading_ = false;
  std::int64_t writing_ms_ = 0;    // since when; 0: not
  std::int64_t finishing_ms_ = 0;  // since when; 0: not
  std::int64_t suspect_ms_ = 0;    // since when another one speaks for this host; 0: none
  std::shared_ptr<const std::string> policy_sent_;  // numbers of another group mean others
  std::uint32_t trust_sent_ = 0;                    // the host has it, or will; 0: it takes none
  AskedOnStream asked_;
  Forgotten forgotten_;
  int in_flight_ = 0;
  std::optional<Append> held_;
  std::int64_t retry_ms_ = 0;
  Outbox outbox_;
  grpc::ByteBuffer request_, response_;
};

Reactor* AgentDoor::Service::Connect(grpc::CallbackServerContext* context) {
  auto* stream = new Stream(*this, context);  // deletes itself in OnDone
  const std::string peer = context->peer();
  std::optional<HostCertificate> certificate =
      server_.doorman->is_leaving(peer) ? std::nullopt : peer_certificate(*context);
  const std::string id = certificate ? certificate->host_id : "";
  const std::int64_t now_s = wall_s();
  std::optional<HostView> host = id.empty() ? std::nullopt : parts_.hosts.find(id, now_s);
  if (host && !host->row.revoked && !host->row.cloned)
    stream->visitor_ = server_.doorman->prove(peer, host->row.number);
  std::lock_guard lock(mutex_);
  stream->number_ = next_stream_++;
  streams_.emplace(stream->number_, stream);
  grpc::Status status = standing_of(host);
  if (status.ok() && !stream->visitor_)
    status = {grpc::StatusCode::RESOURCE_EXHAUSTED, "too much came, or from too many: wait"};
  else if (status.ok() && (stopping_ || streams_.size() > options_.max_streams))
    status = {grpc::StatusCode::RESOURCE_EXHAUSTED, "no more streams are taken"};
  if (!status.ok()) {
    ++counters_.refused;
    stream->finish(status.error_code(), status.error_message());
    return stream;
  }
  ++counters_.opened;
  stream->host_ = host->row.number;
  stream->host_id_ = id;
  stream->certificate_ends_s_ = certificate->not_after_s;
  of_hosts_.emplace(stream->host_, stream);
  stream->read_on();
  return stream;
}

// A second stream of a host: it was cut off and came back, or this is a copy of it. A copy of a
// machine that runs has its boot id, too, so that nothing in Hello tells them apart. It shows when
// both are still alive after a dead one would have been found; until then both are served.
void AgentDoor::Service::greet(Stream& stream, const v1::Hello& hello) {
  const std::int64_t now_ms = steady_ms();
  stream.greeted_ = true;
  for (auto [at, end] = of_hosts_.equal_range(stream.host_); at != end; ++at) {
    Stream* other = at->second;
    if (other == &stream || !other->greeted_ || other->finishing_ms_ != 0) continue;
    stream.suspect_ms_ = now_ms;
    if (other->suspect_ms_ == 0) other->suspect_ms_ = now_ms;
  }
  note_hello(parts_, stream.host_, hello);
  const std::vector<Appended> stored = parts_.records.positions(stream.host_);
  stream.forgotten_ = Forgotten(hello, stored);
  if (!stream.forgotten_.empty() && said_of_.insert(stream.host_).second)
    options_.say(fmt::format("host {} {}", stream.host_id_, stream.forgotten_.sentence()));
  stream.outbox_.welcome(wall_ns(), stored);
  stream.trust_sent_ = hello.policy().trust_number();
  send_trust(stream);
  send_commands(stream, now_ms);
  send_policy(stream);
  stream.pump();
}

// ---- what comes up ------------------------------------------------------------------------------

void AgentDoor::Service::Stream::OnReadDone(bool ok) {
  if (!ok) {
    std::lock_guard lock(service_.mutex_);
    reading_ = false;
    return finish(grpc::StatusCode::OK, "");
  }
  // Parsing and hashing need no lock: only one read is under way, and only it changes these.
  visitor_->brought(request_.Length());
  v1::ConnectRequest request;
  const bool read = read_from(request_, request);
  std::optional<Result<Append>> batch;
  if (request.has_batch()) batch = read_batch(*request.mutable_batch(), host_, host_id_);
  if (batch && *batch) pack(**batch);
  if (greeted_) note_told(service_.parts_, host_, request);
  service_.parts_.hosts.seen(host_, wall_s());

  std::lock_guard lock(service_.mutex_);
  reading_ = false;
  if (finishing_ms_ != 0) return;
  if (!read) return finish(grpc::StatusCode::INVALID_ARGUMENT, "a message can't be read");
  if (greeted_ == request.has_hello())
    return finish(grpc::StatusCode::INVALID_ARGUMENT, "the first message is Hello, and only that");
  if (request.has_hello()) service_.greet(*this, request.hello());
  // It may have joined its group just now.
  if (request.has_policy_state() && !request.policy_state().group().empty()) {
    service_.send_policy(*this);
    pump();
  }
  if (batch && !*batch)
    return finish(grpc::StatusCode::INVALID_ARGUMENT, (*batch).error().sentence);
  if (batch) return take(std::move(**batch));
  read_on();
}

void AgentDoor::Service::stored(std::uint64_t number, const Appended& appended) {
  std::lock_guard lock(mutex_);
  auto found = streams_.find(number);
  if (found == streams_.end()) return;
  Stream& stream = *found->second;
  --stream.in_flight_;
  if (appended.outcome == AppendOutcome::old_epoch)
    return stream.finish(grpc::StatusCode::FAILED_PRECONDITION,
                         "the spool's epoch is older than those that are known");
  stream.outbox_.acknowledge(appended);
  stream.pump();
  stream.read_on();
}

void AgentDoor::Service::Stream::OnDone() {
  {
    std::lock_guard lock(service_.mutex_);
    if (greeted_) service_.parts_.hosts.disconnected(host_, wall_s());
    service_.streams_.erase(number_);
    let_go();
    for (auto [at, end] = service_.of_hosts_.equal_range(host_); at != end; ++at)
      if (at->second == this) {
        service_.of_hosts_.erase(at);
        break;
      }
    if (service_.streams_.empty()) service_.ended_.notify_all();
  }
  delete this;
}

// ---- what goes down -----------------------------------------------------------------------------

void AgentDoor::Service::push_policy(const std::string& group) {
  const std::int64_t now_s = wall_s();
  std::lock_guard lock(mutex_);
  for (auto& [number, stream] : streams_) {
    if (!stream->greeted_ || stream->finishing_ms_ != 0) continue;
    std::optional<HostView> host = parts_.hosts.find(stream->host_, now_s);
    if (!host || host->row.group != group) continue;
    send_policy(*stream);
    stream->pump();
  }
}

void AgentDoor::Service::send_policy(Stream& stream) {
  std::optional<Desired> desired = policy_for(parts_, stream.host_);
  if (!desired || stream.policy_sent_ == desired->signed_policy) return;
  stream.policy_sent_ = desired->signed_policy;
  stream.outbox_.policy(desired->signed_policy);
}

void AgentDoor::Service::push_commands(std::uint32_t number) {
  const std::int64_t now_ms = steady_ms();
  std::lock_guard lock(mutex_);
  for (auto [at, end] = of_hosts_.equal_range(number); at != end; ++at)
    send_commands(*at->second, now_ms);
}

// Until the host has answered: an answer that was lost is asked for again.
void AgentDoor::Service::send_commands(Stream& stream, std::int64_t now_ms) {
  if (!stream.greeted_ || stream.finishing_ms_ != 0) return;
  for (const HostCommands::Open& open :
       stream.asked_.due(parts_.commands.open_of(stream.host_, wall_s()), now_ms))
    stream.outbox_.command(open.command);
  stream.pump();
}

void AgentDoor::Service::push_trust() {
  std::lock_guard lock(mutex_);
  for (auto& [number, stream] : streams_)
    if (stream->greeted_ && stream->finishing_ms_ == 0) send_trust(*stream);
}

// Each set that the host has missed, in order.
void AgentDoor::Service::send_trust(Stream& stream) {
  if (stream.trust_sent_ == 0) return;
  for (const TrustLink& link : parts_.rollout.trust_after(stream.trust_sent_)) {
    stream.trust_sent_ = link.number;
    stream.outbox_.trust(link.signed_trust);
  }
  stream.pump();
}

void AgentDoor::Service::close_host(std::uint32_t number, const std::string& sentence) {
  std::lock_guard lock(mutex_);
  for (auto [at, end] = of_hosts_.equal_range(number); at != end; ++at)
    at->second->finish(grpc::StatusCode::PERMISSION_DENIED, sentence);
}

AgentDoorCounters AgentDoor::Service::counters() const {
  std::lock_guard lock(mutex_);
  AgentDoorCounters counters = counters_;
  counters.streams = streams_.size();
  counters.doorman = server_.doorman->counters();
  return counters;
}

void AgentDoor::Service::look_after() {
  std::int64_t flushed_ms = steady_ms(), looked_ms = 0;
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    ended_.wait_for(lock, kTick);
    const std::int64_t now_ms = steady_ms(), now_s = wall_s();
    // A walk over thousands of streams: at each tick only while one of them waits for the store.
    if (held_ != 0 || now_ms - looked_ms >= kLookMs) {
      looked_ms = now_ms;
      for (auto& [number, stream] : streams_) look_after(*stream, now_ms, now_s);
    }
    if (now_ms - flushed_ms < kFlushMs) continue;
    flushed_ms = now_ms;
    for (auto& [number, stream] : streams_) check_standing(*stream, now_s);
    lock.unlock();
    parts_.hosts.flush();
    lock.lock();
  }
}

void AgentDoor::Service::look_after(Stream& stream, std::int64_t now_ms, std::int64_t now_s) {
  if (stream.finishing_ms_ != 0) {
    // A peer that does not read would keep the stream for ever.
    if (now_ms - stream.finishing_ms_ > kFinishWithinMs) stream.context_->TryCancel();
    return;
  }
  if (!stream.greeted_ && now_ms - stream.opened_ms_ > options_.hello_within_ms)
    return stream.finish(grpc::StatusCode::DEADLINE_EXCEEDED, "no Hello came");
  if (stream.certificate_ends_s_ <= now_s)
    return stream.finish(grpc::StatusCode::UNAUTHENTICATED,
                         "the certificate has expired: renew it");
  if (stream.writing_ms_ != 0 && now_ms - stream.writing_ms_ > kWriteWithinMs)
    return stream.finish(grpc::StatusCode::DEADLINE_EXCEEDED, "what was sent is not read");
  if (stream.held_ && now_ms >= stream.retry_ms_) stream.take(*stream.let_go());
  if (stream.suspect_ms_ == 0 || now_ms - stream.suspect_ms_ < options_.clone_proof_ms) return;
  int alive = 0, proven = 0;
  for (auto [at, end] = of_hosts_.equal_range(stream.host_); at != end; ++at) {
    const Stream& one = *at->second;
    if (one.suspect_ms_ == 0 || one.finishing_ms_ != 0) continue;
    ++alive;
    proven += now_ms - one.suspect_ms_ >= options_.clone_proof_ms;
  }
  if (alive < 2) stream.suspect_ms_ = 0;
  if (proven < 2) return;
  ++counters_.clones;
  parts_.hosts.set_cloned(stream.host_);
  for (auto [at, end] = of_hosts_.equal_range(stream.host_); at != end; ++at)
    at->second->finish(grpc::StatusCode::FAILED_PRECONDITION,
                       "two machines speak with this key: both are held");
}

// Whoever was revoked while its stream was being opened goes too.
void AgentDoor::Service::check_standing(Stream& stream, std::int64_t now_s) {
  std::optional<HostView> host = parts_.hosts.find(stream.host_, now_s);
  if (host && (host->row.revoked || host->row.cloned))
    return stream.finish(grpc::StatusCode::PERMISSION_DENIED, "the host is revoked or held");
  if (parts_.commands.any_open()) send_commands(stream, steady_ms());
}

Result<void> AgentDoor::Service::start() {
  Result<AgentServer> opened =
      open_agent_server({options_.address, options_.ca, options_.certificate, options_.key,
                         options_.connection_age_ms, options_.doorman, options_.say},
                        *this);
  if (!opened) return tl::unexpected(opened.error());
  server_ = std::move(*opened);
  server_.doorman->start();
  keeper_ = std::thread([this] { look_after(); });
  return {};
}

void AgentDoor::Service::stop() {
  if (!server_.server) return;
  server_.doorman->stop();
  {
    std::unique_lock lock(mutex_);
    stopping_ = true;
    for (auto& [number, stream] : streams_)
      stream->finish(grpc::StatusCode::UNAVAILABLE, "the collector ends");
    ended_.wait_for(lock, std::chrono::milliseconds(kFinishWithinMs),
                    [this] { return streams_.empty(); });
  }
  keeper_.join();
  server_.server->Shutdown(std::chrono::system_clock::now());  // cancels what is left
  {
    std::unique_lock lock(mutex_);
    ended_.wait(lock, [this] { return streams_.empty(); });
  }
  server_.server->Wait();
  server_.server.reset();
  {
    std::lock_guard lock(link_->mutex);
    link_->service = nullptr;
  }
  parts_.hosts.flush();
}

Result<std::unique_ptr<AgentDoor>> AgentDoor::start(const AgentDoorOptions& options, Parts parts) {
  auto service = std::make_unique<Service>(options, parts);
  if (Result<void> started = service->start(); !started) return tl::unexpected(started.error());
  return std::unique_ptr<AgentDoor>(new AgentDoor(std::move(service)));
}

AgentDoor::AgentDoor(std::unique_ptr<Service> service) : service_(std::move(service)) {}
AgentDoor::~AgentDoor() {
  stop();
}
std::uint16_t AgentDoor::port() const {
  return service_->port();
}
void AgentDoor::push_policy(const std::string& group) {
  service_->push_policy(group);
}
void AgentDoor::push_commands(std::uint32_t number) {
  service_->push_commands(number);
}
void AgentDoor::push_trust() {
  service_->push_trust();
}
void AgentDoor::close_host(std::uint32_t number, const std::string& sentence) {
  service_->close_host(number, sentence);
}
AgentDoorCounters AgentDoor::counters() const {
  return service_->counters();
}
void AgentDoor::stop() {
  service_->stop();
}

}  // namespace weir
