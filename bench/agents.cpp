// A fleet of simulated agents, each with its own certificate and stream, against one collector; and
// the bare peer: a gRPC server with the same mTLS that answers a Hello and pushes one message.
//   bench_agents prepare DIR N FILE   enrols N hosts in DIR (no collector runs), writes who they
//   are bench_agents run FILE PORT        connects them all, then waits until each has got a policy
//   bench_agents load FILE PORT RECORDS  the first 100 send reports until all are acknowledged
//   bench_agents bare FILE            the bare server; prints its port; acknowledges what comes,
//                                     pushes when a line comes on stdin
#include <fmt/format.h>
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <sys/resource.h>

#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <mutex>

#include "bench/records.h"
#include "collector/fleet/enrolment.h"
#include "collector/serve/first_start.h"
#include "weir/v1/agent.grpc.pb.h"
#include "weir/v1/policy.pb.h"

namespace weir {
namespace {

constexpr std::chrono::seconds kPatience{300};
constexpr std::size_t kPushedBytes = 1'024;  // of the bare peer's policy
constexpr std::size_t kLoading = 100;        // hosts that send reports, as in bench_ingest

[[noreturn]] void give_up(const std::string& sentence) {
  fmt::print(stderr, "bench_agents: {}\n", sentence);
  std::exit(1);
}

std::int64_t now_s() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

// FILE: the authority, then the door's pair for the bare peer, then each agent's pair; PEM, each
// with its length before it.
void put(std::ostream& out, const std::string& text) {
  out << text.size() << '\n' << text;
}
bool get(std::istream& in, std::string& text) {
  std::size_t size = 0;
  if (!(in >> size) || size > 100'000) return false;
  in.get();
  text.resize(size);
  return static_cast<bool>(in.read(text.data(), static_cast<std::streamsize>(size)));
}

struct Pair {
  std::string certificate, key;
};
struct Fleet {
  std::string ca;
  Pair door;
  std::vector<Pair> agents;
};

Fleet read_fleet(const char* path) {
  std::ifstream in(path);
  Fleet fleet;
  Pair pair;
  if (!get(in, fleet.ca) || !get(in, fleet.door.certificate) || !get(in, fleet.door.key))
    give_up(fmt::format("{}: can't be read", path));
  while (get(in, pair.certificate) && get(in, pair.key)) fleet.agents.push_back(pair);
  return fleet;
}

int prepare(const char* folder, std::uint32_t count, const char* path) {
  auto data =
      open_data_folder({.folder = folder, .name = "localhost", .console_cert = ""}, now_s());
  if (!data) give_up(data.error().sentence);
  Hosts hosts(*data->store);
  Enrolment enrolment(*data->store, hosts, data->authority);
  auto token = enrolment.create_token("desks", count, 3'600, "bench", now_s());
  if (!token) give_up(token.error().sentence);
  std::ofstream out(path);
  put(out, data->authority.certificate().pem());
  PrivateKey door = PrivateKey::generate();
  put(out,
      data->authority.issue_server(door, kAgentServerName, {now_s() - 60, now_s() + 86'400}).pem());
  put(out, door.pem());
  for (std::uint32_t n = 0; n < count; ++n) {
    PrivateKey key = PrivateKey::generate();
    auto issued = enrolment.enrol({.secret = token->secret,
                                   .csr = new_request(key),
                                   .hostname = fmt::format("desk-{}", n),
                                   .machine_id_digest = "",
                                   .version = "bench"},
                                  now_s());
    if (!issued) give_up(issued.error().sentence);
    put(out, X509Certificate::from_der(bytes_of(issued->chain[0]))->pem());
    put(out, key.pem());
  }
  return out ? 0 : 1;
}

// ---- the agents
// ----------------------------------------------------------------------------------

struct Count {
  std::mutex mutex;
  std::condition_variable changed;
  std::size_t welcomed = 0, pushed = 0, ended = 0;
  std::chrono::steady_clock::time_point first_push{};

  template <class Holds>
  void wait(Holds holds) {
    std::unique_lock lock(mutex);
    if (!changed.wait_for(lock, kPatience, holds))
      give_up(fmt::format("{} welcomed, {} pushed, {} ended", welcomed, pushed, ended));
  }
};

std::shared_ptr<grpc::Channel> channel_of(const Fleet& fleet, const Pair& identity,
                                          const std::string& address) {
  grpc::ChannelArguments arguments;
  arguments.SetSslTargetNameOverride(kAgentServerName);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // a connection each, as desks have
  return grpc::CreateCustomChannel(
      address, grpc::SslCredentials({fleet.ca, identity.key, identity.certificate}), arguments);
}

class AgentStream final : public grpc::ClientBidiReactor<v1::ConnectRequest, v1::ConnectResponse> {
 public:
  AgentStream(const Fleet& fleet, const Pair& identity, const std::string& address, Count& count)
      : count_(count) {
    stub_ = v1::AgentService::NewStub(channel_of(fleet, identity, address));
    context_.set_wait_for_ready(true);
    request_.mutable_hello()->set_boot_id("bench");
    request_.mutable_hello()->set_version("bench");
    stub_->async()->Connect(&context_, this);
    StartWrite(&request_);
    StartRead(&response_);
    StartCall();
  }
  void OnReadDone(bool ok) override {
    if (!ok) return;
    std::lock_guard lock(count_.mutex);
    if (response_.has_welcome()) ++count_.welcomed;
    if (response_.has_policy()) {
      if (count_.pushed++ == 0) count_.first_push = std::chrono::steady_clock::now();
      v1::PolicyEnvelope envelope;
      (void)envelope.ParseFromString(response_.policy().envelope());
      state_.mutable_policy_state()->set_number(envelope.number());
      state_.mutable_policy_state()->set_state(v1::PolicyState::effective);
      answers_ = true;
      write_answer();
    }
    count_.changed.notify_one();
    StartRead(&response_);
  }
  void OnWriteDone(bool) override {
    std::lock_guard lock(count_.mutex);
    writing_ = false;
    write_answer();
  }
  void OnDone(const grpc::Status&) override {
    std::lock_guard lock(count_.mutex);
    ++count_.ended;
    count_.changed.notify_one();
  }
  void cancel() { context_.TryCancel(); }

 private:
  void write_answer() {  // one write at a time; the count's lock is held
    if (writing_ || !answers_) return;
    answers_ = false;
    writing_ = true;
    StartWrite(&state_);
  }

  Count& count_;
  bool writing_ = true, answers_ = false;  // Hello is under way
  std::unique_ptr<v1::AgentService::Stub> stub_;
  grpc::ClientContext context_;
  v1::ConnectRequest request_, state_;
  v1::ConnectResponse response_;
};

int run(const char* path, const char* port) {
  const Fleet fleet = read_fleet(path);
  const std::string address = fmt::format("127.0.0.1:{}", port);
  Count count;
  std::vector<std::unique_ptr<AgentStream>> streams;
  auto seconds = [](auto since) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - since).count();
  };
  auto start = std::chrono::steady_clock::now();
  for (const Pair& agent : fleet.agents)
    streams.push_back(std::make_unique<AgentStream>(fleet, agent, address, count));
  count.wait([&] { return count.welcomed == fleet.agents.size(); });
  fmt::print("connected {} {:.2f}\n", fleet.agents.size(), seconds(start));
  std::fflush(stdout);
  count.wait([&] { return count.pushed == fleet.agents.size(); });
  fmt::print("pushed {} {:.3f}\n", fleet.agents.size(), seconds(count.first_push));
  std::fflush(stdout);
  std::string line;
  std::getline(std::cin, line);  // stays until it is told to go
  for (const auto& stream : streams) stream->cancel();
  count.wait([&] { return count.ended == fleet.agents.size(); });
  return 0;
}

// ---- the same with reports
// -----------------------------------------------------------------------

class LoadStream final : public grpc::ClientBidiReactor<v1::ConnectRequest, v1::ConnectResponse> {
 public:
  // `batches`: what every host sends; outlives it.
  LoadStream(const Fleet& fleet, const Pair& identity, const std::string& address,
             const std::vector<v1::ConnectRequest>& batches, Count& count)
      : count_(count),
        batches_(batches),
        stub_(v1::AgentService::NewStub(channel_of(fleet, identity, address))) {
    context_.set_wait_for_ready(true);
    hello_.mutable_hello()->set_boot_id("bench");
    stub_->async()->Connect(&context_, this);
    StartWrite(&hello_);
    StartRead(&response_);
    StartCall();
  }
  void begin() {
    std::lock_guard lock(mutex_);
    begun_ = true;
    write_next();
  }
  void OnReadDone(bool ok) override {
    if (!ok) return;
    if (response_.has_welcome()) count(&Count::welcomed);
    bool all = false;
    {
      std::lock_guard lock(mutex_);
      for (const v1::LanePosition& stored : response_.acknowledgement().stored())
        acknowledged_ = std::max<std::size_t>(acknowledged_, stored.sequence() / kBatch);
      all = begun_ && !told_ && acknowledged_ == batches_.size();
      told_ = told_ || all;
      write_next();
    }
    if (all) count(&Count::pushed);
    StartRead(&response_);
  }
  void OnWriteDone(bool) override {
    std::lock_guard lock(mutex_);
    writing_ = false;
    write_next();
  }
  void OnDone(const grpc::Status&) override { count(&Count::ended); }
  void cancel() { context_.TryCancel(); }

 private:
  void count(std::size_t Count::*what) {
    std::lock_guard lock(count_.mutex);
    ++(count_.*what);
    count_.changed.notify_one();
  }
  void write_next() {  // the lock is held
    if (!begun_ || writing_ || sent_ == batches_.size() || sent_ - acknowledged_ >= kInFlight)
      return;
    writing_ = true;
    StartWrite(&batches_[sent_++]);
  }

  Count& count_;
  const std::vector<v1::ConnectRequest>& batches_;
  std::mutex mutex_;
  std::size_t sent_ = 0, acknowledged_ = 0;             // batches
  bool begun_ = false, writing_ = true, told_ = false;  // Hello is under way
  std::unique_ptr<v1::AgentService::Stub> stub_;
  grpc::ClientContext context_;
  v1::ConnectRequest hello_;
  v1::ConnectResponse response_;
};

// A server that knows what an earlier run sent would take nothing of it: one run a folder.
int load(const char* path, const char* port, std::uint64_t records) {
  Fleet fleet = read_fleet(path);
  if (fleet.agents.size() > kLoading) fleet.agents.resize(kLoading);
  std::vector<v1::ConnectRequest> batches;
  for (v1::Batch& batch : batches_of(true, records / fleet.agents.size()))
    *batches.emplace_back().mutable_batch() = std::move(batch);
  records = batches.size() * kBatch * fleet.agents.size();
  Count count;
  std::vector<std::unique_ptr<LoadStream>> streams;
  const std::string address = fmt::format("127.0.0.1:{}", port);
  for (const Pair& agent : fleet.agents)
    streams.push_back(std::make_unique<LoadStream>(fleet, agent, address, batches, count));
  count.wait([&] { return count.welcomed == fleet.agents.size(); });
  fmt::print("connected\n");
  std::fflush(stdout);
  std::string line;
  std::getline(std::cin, line);  // the server's CPU time is read by now
  auto start = std::chrono::steady_clock::now();
  for (const auto& stream : streams) stream->begin();
  count.wait([&] { return count.pushed == fleet.agents.size(); });
  double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  fmt::print("acknowledged {} {:.0f}\n", records, static_cast<double>(records) / seconds);
  std::fflush(stdout);
  std::getline(std::cin, line);
  for (const auto& stream : streams) stream->cancel();
  count.wait([&] { return count.ended == fleet.agents.size(); });
  return 0;
}

// ---- the bare peer
// -------------------------------------------------------------------------------

class Bare final : public v1::AgentService::CallbackService {
 public:
  class Stream final : public grpc::ServerBidiReactor<v1::ConnectRequest, v1::ConnectResponse> {
   public:
    explicit Stream(Bare& bare) : bare_(bare) { StartRead(&request_); }
    void OnReadDone(bool ok) override {
      if (!ok) return Finish(grpc::Status::OK);
      if (request_.has_hello()) {
        response_.mutable_welcome();
        writing_ = true;
        StartWrite(&response_);
        std::lock_guard lock(bare_.mutex_);
        bare_.streams_.push_back(this);
      }
      if (request_.has_batch()) {
        const v1::Batch& batch = request_.batch();
        std::lock_guard lock(bare_.mutex_);
        stored_ = batch.first_sequence() + static_cast<std::uint64_t>(batch.records_size()) - 1;
        acknowledge();
      }
      StartRead(&request_);
    }
    void push() {
      writing_ = true;
      response_.mutable_policy()->set_envelope(std::string(kPushedBytes, '\0'));
      StartWrite(&response_);
    }
    void OnWriteDone(bool) override {
      std::lock_guard lock(bare_.mutex_);
      writing_ = false;
      acknowledge();
    }
    void OnDone() override { delete this; }

   private:
    void acknowledge() {  // the newest; one write at a time
      if (writing_ || stored_ == 0) return;
      response_.Clear();
      v1::LanePosition& stored = *response_.mutable_acknowledgement()->add_stored();
      stored.set_lane(v1::Lane::alert);
      stored.set_epoch(1);
      stored.set_sequence(std::exchange(stored_, 0));
      writing_ = true;
      StartWrite(&response_);
    }

    Bare& bare_;
    std::uint64_t stored_ = 0;  // not told yet; 0: nothing
    bool writing_ = false;
    v1::ConnectRequest request_;
    v1::ConnectResponse response_;
  };
  grpc::ServerBidiReactor<v1::ConnectRequest, v1::ConnectResponse>* Connect(
      grpc::CallbackServerContext*) override {
    return new Stream(*this);
  }
  void push() {
    std::lock_guard lock(mutex_);
    for (Stream* stream : streams_) stream->push();
  }

 private:
  std::mutex mutex_;
  std::vector<Stream*> streams_;
};

int bare(const char* path) {
  const Fleet fleet = read_fleet(path);
  grpc::SslServerCredentialsOptions tls(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  tls.pem_root_certs = fleet.ca;
  tls.pem_key_cert_pairs.push_back({fleet.door.key, fleet.door.certificate});
  Bare service;
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::SslServerCredentials(tls), &port);
  builder.RegisterService(&service);
  auto server = builder.BuildAndStart();
  if (!server) give_up("the bare server can't listen");
  fmt::print("{}\n", port);
  std::fflush(stdout);
  std::string line;
  while (std::getline(std::cin, line)) service.push();
  std::_Exit(0);
}

}  // namespace
}  // namespace weir

int main(int argc, char** argv) {
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &files);
  const std::string what = argc > 2 ? argv[1] : "";
  if (what == "prepare" && argc == 5)
    return weir::prepare(argv[2], static_cast<std::uint32_t>(std::strtoul(argv[3], nullptr, 10)),
                         argv[4]);
  if (what == "run" && argc == 4) return weir::run(argv[2], argv[3]);
  if (what == "load" && argc == 5)
    return weir::load(argv[2], argv[3], std::strtoull(argv[4], nullptr, 10));
  if (what == "bare" && argc == 3) return weir::bare(argv[2]);
  fmt::print(stderr,
             "usage: bench_agents prepare DIR N FILE | run FILE PORT | "
             "load FILE PORT RECORDS | bare FILE\n");
  return 2;
}
