// Agents of other releases at today's collector: they enrol, speak and are answered by what the
// descriptors of that release say. The last two (proto/released), and one to come.
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>

#include <fstream>
#include <sstream>

#include "collector/api/admin_file.h"
#include "collector/fleet/batch_reader.h"
#include "collector/fleet/certificates.h"
#include "collector/fleet/crypto.h"
#include "proto/connect/client.h"
#include "tests/collector/released/dynamic.h"
#include "tests/collector/serve/program.h"
#include "tests/collector/store/store_fixture.h"
#include "tests/proto/released/images.h"

namespace weir {
namespace {

constexpr std::uint64_t kAlert = 1, kAudit = 2;
constexpr int kSpins = 6;  // rounds through the inner alternatives

std::string content(const std::string& path) {
  std::stringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

// Reason.text is rendered anew for output.
void unrendered(Message& message) {
  const auto* reflection = message.GetReflection();
  if (message.GetDescriptor()->name() == "Reason") return put(message, "text", "");
  std::vector<const FieldDescriptor*> set;
  reflection->ListFields(message, &set);
  for (const FieldDescriptor* of : set) {
    if (of->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) continue;
    if (!of->is_repeated()) unrendered(*reflection->MutableMessage(&message, of));
    for (int n = 0; of->is_repeated() && n < reflection->FieldSize(message, of); ++n)
      unrendered(*reflection->MutableRepeatedMessage(&message, of, n));
  }
}

// The stream of a host, in bytes.
class Wire {
 public:
  Wire(const std::string& address, const std::string& ca, const std::string& name,
       const std::string& certificate, const std::string& key) {
    grpc::ChannelArguments arguments;
    arguments.SetSslTargetNameOverride(name);
    channel_ =
        grpc::CreateCustomChannel(address, grpc::SslCredentials({ca, key, certificate}), arguments);
    stub_ = std::make_unique<grpc::GenericStub>(channel_);
    context_.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    call_ = stub_->PrepareCall(&context_, "/weir.v1.AgentService/Connect", &queue_);
    call_->StartCall(this);
    step();
  }
  ~Wire() {
    context_.TryCancel();
    grpc::Status status;
    call_->Finish(&status, this);
    step();
    queue_.Shutdown();
  }
  bool write(const Message& message) {
    grpc::Slice slice(message.SerializeAsString());
    call_->Write(grpc::ByteBuffer(&slice, 1), this);
    return step();
  }
  std::string read() {  // "": it ended
    grpc::ByteBuffer buffer;
    call_->Read(&buffer, this);
    std::vector<grpc::Slice> slices;
    std::string bytes;
    if (!step() || !buffer.Dump(&slices).ok()) return bytes;
    for (const grpc::Slice& slice : slices)
      bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
    return bytes;
  }

 private:
  bool step() {
    void* tag = nullptr;
    bool ok = false;
    return queue_.Next(&tag, &ok) && ok;
  }
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<grpc::GenericStub> stub_;
  grpc::ClientContext context_;
  grpc::CompletionQueue queue_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> call_;
};

class Released : public ::testing::Test {
 protected:
  void SetUp() override {
    program = std::make_unique<Program>(std::vector<std::string>{
        "serve", "--data", data(), "--listen", "127.0.0.1:0", "--console", "127.0.0.1:0"});
    ASSERT_TRUE(program->ready()) << program->text;
    admin = *read_admin_file_text(content(data() + "/admin.json"));
  }
  std::string data() const { return folder.path() + "/data"; }

  ConnectResult<std::string> try_ask(const std::string& method, const Message& request,
                                     const std::string& secret) {
    Door door{admin.address, {}, secret};
    const std::string pin = unhex(admin.door_key_sha256);
    std::copy(pin.begin(), pin.end(), door.key_sha256.begin());
    return ConnectClient(door).unary("weir.v1." + method, request.SerializeAsString());
  }
  // As the administrator of `image`; NAMERequest and NAMEResponse of the service.
  std::unique_ptr<Message> ask(Dynamic& image, const std::string& service, const std::string& name,
                               const Message& request) {
    auto answer = try_ask(service + "/" + name, request, admin.secret);
    EXPECT_TRUE(answer) << name << ": " << answer.error().sentence;
    return image.read(name + "Response", answer ? *answer : "");
  }

  struct Enrolled {
    std::string host_id;
    std::unique_ptr<Wire> wire;
  };
  // `speaks`: the agent's release. Its token is today's.
  Enrolled enrol(Dynamic& speaks) {
    auto wanted = today.make("CreateTokenRequest");
    put(*wanted, "group", "desks");
    auto made = ask(today, "TokenAdminService", "CreateToken", *wanted);
    auto token = speaks.read("EnrolToken", bytes_of_base64url(text(*made, "text").substr(6)));
    EXPECT_EQ(text(*token, "address"), admin.address);

    auto request = speaks.make("EnrolRequest");
    fill(*request, 0);
    PrivateKey key = PrivateKey::generate();
    put(*request, "secret", text(*token, "secret"));
    put(*request, "csr", new_request(key));
    put(*request, "machine_id_digest", std::string(32, 'm'));
    auto answered = try_ask("EnrolService/Enrol", *request, "");
    EXPECT_TRUE(answered) << answered.error().sentence;
    if (!answered) return {};
    auto answer = speaks.read("EnrolResponse", *answered);
    auto pem = [](const std::string& der) {
      return X509Certificate::from_der(bytes_of(der))->pem();
    };
    return {
        text(*answer, "host_id"),
        std::make_unique<Wire>(text(*answer, "agent_address"), pem(text(*answer, "agent_ca", 0)),
                               text(*answer, "agent_server_name"),
                               pem(text(at(*answer, "certificate"), "chain", 0)), key.pem())};
  }
  static std::string bytes_of_base64url(const std::string& text) {
    std::string bytes;
    std::uint32_t bits = 0;
    int have = 0;
    for (char c : text) {
      const std::string all = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
      bits = bits << 6 | static_cast<std::uint32_t>(all.find(c));
      if ((have += 6) >= 8) bytes += static_cast<char>(bits >> (have -= 8));
    }
    return bytes;
  }

  // Until the lane is acknowledged up to there; what else comes is kept in `came`.
  bool acknowledged(Dynamic& speaks, Wire& wire, std::uint64_t lane, std::uint64_t sequence) {
    for (std::string bytes = wire.read(); !bytes.empty(); bytes = wire.read()) {
      auto response = speaks.read("ConnectResponse", bytes);
      if (has(*response, "acknowledgement")) {
        const Message& acknowledgement = at(*response, "acknowledgement");
        for (int n = 0; n < count(acknowledgement, "stored"); ++n) {
          const Message& stored = at(acknowledgement, "stored", n);
          if (number(stored, "lane") == lane && number(stored, "sequence") >= sequence) return true;
        }
      }
      came.push_back(std::move(response));
    }
    return false;
  }

  // Each Record that the release can tell, in one lane.
  std::unique_ptr<Message> all_records(Dynamic& speaks, std::vector<std::string>& report_ids) {
    auto request = speaks.make("ConnectRequest");
    Message& batch = part(*request, "batch");
    put(batch, "lane", kAlert);
    put(batch, "epoch", 3);
    put(batch, "first_sequence", 1);
    std::string chain(32, '\0');
    const int bodies = speaks.alternatives("Record");
    for (int choice = 0; choice < bodies * kSpins; ++choice) {
      auto record = speaks.make("Record");
      fill(*record, choice);
      if (has(*record, "report")) {
        report_ids.push_back(fmt::format("report-{}", choice));
        put(part(*record, "report"), "id", report_ids.back());
      }
      Message& sealed = add(batch, "records");
      put(sealed, "previous_hash", chain);
      put(sealed, "ciphertext", record->SerializeAsString());
      Digest next = chain_hash(bytes_of(chain), bytes_of(text(sealed, "ciphertext")), {}, {});
      chain.assign(next.begin(), next.end());
    }
    return request;
  }

  void speaks_all(Dynamic& speaks);

  Folder folder;
  Dynamic today{*image_of_protos(std::string(WEIR_SOURCE_DIR) + "/proto")};
  std::unique_ptr<Program> program;
  AdminFile admin;
  std::vector<std::unique_ptr<Message>> came;
};

void Released::speaks_all(Dynamic& speaks) {
  Enrolled host = enrol(speaks);
  ASSERT_TRUE(host.wire);
  Wire& wire = *host.wire;
  auto hello = speaks.make("ConnectRequest");
  fill(part(*hello, "hello"), 0);
  put(part(part(*hello, "hello"), "policy"), "number", 0);
  ASSERT_TRUE(wire.write(*hello));
  auto first = speaks.read("ConnectResponse", wire.read());
  ASSERT_TRUE(has(*first, "welcome"));
  EXPECT_GT(number(at(*first, "welcome"), "max_batch_records"), 0u);
  EXPECT_GT(number(at(*first, "welcome"), "max_batch_bytes"), 0u);

  // Every message but the first and the batches, each way that it can be.
  for (int choice = 0; choice < speaks.alternatives("ConnectRequest") * kSpins; ++choice) {
    auto request = speaks.make("ConnectRequest");
    fill(*request, choice);
    if (has(*request, "hello") || has(*request, "batch")) continue;
    ASSERT_TRUE(wire.write(*request)) << choice;
  }
  std::vector<std::string> report_ids;
  auto batch = all_records(speaks, report_ids);
  const auto records = static_cast<std::uint64_t>(count(at(*batch, "batch"), "records"));
  ASSERT_TRUE(wire.write(*batch));
  ASSERT_TRUE(acknowledged(speaks, wire, kAlert, records));
  auto lost = speaks.make("ConnectRequest");
  fill(part(part(*lost, "batch"), "lost"), 0);
  put(part(*lost, "batch"), "lane", kAudit);
  put(part(*lost, "batch"), "first_sequence", 1);
  ASSERT_TRUE(wire.write(*lost));
  ASSERT_TRUE(acknowledged(speaks, wire, kAudit, 7));

  // The report that the administrator gets is the one that was told, part for part, also the parts
  // that the collector does not know.
  for (const std::string& id : report_ids) {
    auto request = today.make("GetReportRequest");
    put(*request, "id", id);
    auto answer = ask(speaks, "ReportAdminService", "GetReport", *request);
    Message& shown = part(part(*answer, "explanation"), "report");
    auto told = speaks.make("Record");
    fill(*told, std::stoi(id.substr(7)));
    Message& report = part(*told, "report");
    put(report, "id", id);
    put(part(report, "host"), "id", host.host_id);  // the certificate's
    unrendered(shown);
    unrendered(report);
    EXPECT_EQ(shown.DebugString(), report.DebugString());
  }
}

TEST_F(Released, agents_of_the_last_two_releases_are_enrolled_heard_and_acknowledged) {
  std::vector<Image> images = released_images(WEIR_SOURCE_DIR);
  ASSERT_FALSE(images.empty());
  for (std::size_t n = 0; n < images.size() && n < kReleasesKept; ++n) {
    SCOPED_TRACE(images[n].name);
    std::printf("release %s\n", images[n].name.c_str());
    Dynamic speaks(images[n].files);
    speaks_all(speaks);
  }
}

TEST_F(Released, an_agent_of_a_release_to_come_is_too_and_what_it_says_more_is_kept) {
  Dynamic speaks(grown(*image_of_protos(std::string(WEIR_SOURCE_DIR) + "/proto")));
  speaks_all(speaks);
}

// A policy with a part that a desk does not know is refused there, whole. So one that says nothing
// new must be signed in words that an older desk knows.
TEST_F(Released, a_policy_of_today_holds_nothing_that_an_older_desk_does_not_know) {
  const std::string file = folder.path() + "/policy.yaml";
  std::ofstream(file) << content(std::string(WEIR_SOURCE_DIR) + "/demo/demo.yaml");
  std::vector<Image> images = released_images(WEIR_SOURCE_DIR);
  for (std::size_t n = 0; n < images.size() && n < kReleasesKept; ++n) {
    SCOPED_TRACE(images[n].name);
    Dynamic speaks(images[n].files);
    Enrolled host = enrol(speaks);
    ASSERT_TRUE(host.wire);
    auto hello = speaks.make("ConnectRequest");
    put(part(*hello, "hello"), "version", images[n].name);
    ASSERT_TRUE(host.wire->write(*hello));
    (void)host.wire->read();  // Welcome
    ASSERT_EQ(std::system(fmt::format("{} policy publish --config {}/admin.json {} --group desks "
                                      "2> {}/published",
                                      WEIRCTL, data(), file, folder.path())
                              .c_str()),
              0)
        << content(folder.path() + "/published");
    auto response = speaks.read("ConnectResponse", host.wire->read());
    ASSERT_TRUE(has(*response, "policy"));
    const Message& signed_policy = at(*response, "policy");
    auto envelope = speaks.read("PolicyEnvelope", text(signed_policy, "envelope"));
    auto policy = speaks.read("Policy", text(*envelope, "policy"));
    EXPECT_EQ(unknown_in(signed_policy) + unknown_in(*envelope) + unknown_in(*policy), 0);
    EXPECT_GT(count(*policy, "rules"), 0);
    EXPECT_EQ(number(*envelope, "number"), n + 1);
  }
}

// `weirctl` of an older release: its requests are known whole, its answers readable.
TEST_F(Released, an_administrator_of_an_older_release_asks_and_is_answered) {
  std::vector<Image> images = released_images(WEIR_SOURCE_DIR);
  for (std::size_t n = 0; n < images.size() && n < kReleasesKept; ++n) {
    SCOPED_TRACE(images[n].name);
    Dynamic speaks(images[n].files);
    Enrolled host = enrol(speaks);
    auto all = speaks.make("ListHostsRequest");
    put(*all, "group", "desks");
    put(*all, "limit", 1'000);
    auto hosts = ask(speaks, "HostAdminService", "ListHosts", *all);
    ASSERT_EQ(count(*hosts, "hosts"), static_cast<int>(n) + 1);
    auto reports = speaks.make("ListReportsRequest");
    fill(part(*reports, "filter"), 0);
    put(part(part(*reports, "filter"), "person"), "name", "");
    ask(speaks, "ReportAdminService", "ListReports", *reports);
    auto verify = speaks.make("VerifyEvidenceRequest");
    put(*verify, "host_id", host.host_id);
    ask(speaks, "EvidenceAdminService", "VerifyEvidence", *verify);
    auto revoke = speaks.make("RevokeHostRequest");
    put(*revoke, "id", host.host_id);
    put(*revoke, "reason", "sold");
    auto revoked = ask(speaks, "HostAdminService", "RevokeHost", *revoke);
    EXPECT_EQ(number(at(*revoked, "host"), "state"), 4u);
  }
}

}  // namespace
}  // namespace weir
