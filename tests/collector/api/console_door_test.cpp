// The console door with real clients over real TLS: our own, and curl.
#include "collector/api/console_door.h"

#include <fmt/format.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "collector/api/principal.h"
#include "proto/connect/client.h"
#include "weir/v1/admin.grpc.pb.h"
#include "weir/v1/enrol.grpc.pb.h"

namespace weir {
namespace {

using namespace std::chrono_literals;

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream all;
  all << file.rdbuf();
  return all.str();
}

// A P-256 key and its own certificate, by the openssl command.
struct Identity {
  explicit Identity(const std::filesystem::path& folder) {
    std::string command = fmt::format(
        "cd {} && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key "
        "-out certificate -days 1 -subj /CN=door -quiet 2>/dev/null || openssl req -x509 -newkey "
        "ec "
        "-pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key -out certificate -days 1 -subj "
        "/CN=door "
        "2>/dev/null",
        folder.string());
    EXPECT_EQ(std::system(command.c_str()), 0);
    certificate = read_file(folder / "certificate");
    key = read_file(folder / "key");
    BIO* memory = BIO_new_mem_buf(certificate.data(), static_cast<int>(certificate.size()));
    X509* parsed = PEM_read_bio_X509(memory, nullptr, nullptr, nullptr);
    std::uint8_t* der = nullptr;
    int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(parsed), &der);
    SHA256(der, static_cast<std::size_t>(size), key_sha256.data());
    OPENSSL_free(der);
    X509_free(parsed);
    BIO_free(memory);
  }
  std::string certificate, key;
  std::array<std::uint8_t, 32> key_sha256{};
};

class Tokens : public v1::TokenAdminService::CallbackService {
 public:
  grpc::ServerUnaryReactor* CreateToken(grpc::CallbackServerContext* context,
                                        const v1::CreateTokenRequest* request,
                                        v1::CreateTokenResponse* answer) override {
    ++calls;
    answer->mutable_token()->set_group(request->group());
    answer->mutable_token()->set_created_by(principal_of(*context).name);
    auto* reactor = context->DefaultReactor();
    reactor->Finish(request->group() == "bad"
                        ? grpc::Status(grpc::StatusCode::NOT_FOUND, "no group")
                        : grpc::Status::OK);
    return reactor;
  }
  std::atomic<int> calls{0};
};

// A report every few milliseconds; what was written is counted, and whether the client's end was
// seen.
class Reports : public v1::ReportAdminService::CallbackService {
 public:
  struct Stream : grpc::ServerWriteReactor<v1::WatchReportsResponse> {
    Stream(Reports& of, std::uint32_t wanted) : reports(of), left(wanted) { next(); }
    void next() {
      if (left-- == 0) return Finish(grpc::Status(grpc::StatusCode::UNAVAILABLE, "goes home"));
      answer.mutable_report()->set_id(std::string(1000, 'r'));
      StartWrite(&answer);
    }
    void OnWriteDone(bool ok) override {
      if (!ok) return Finish(grpc::Status::CANCELLED);
      ++reports.written;
      next();
    }
    void OnCancel() override { ++reports.cancelled; }
    void OnDone() override { delete this; }
    Reports& reports;
    std::uint32_t left;
    v1::WatchReportsResponse answer;
  };
  grpc::ServerWriteReactor<v1::WatchReportsResponse>* WatchReports(
      grpc::CallbackServerContext*, const v1::WatchReportsRequest* request) override {
    return new Stream(*this, request->resume().empty() ? 3 : 1'000'000);
  }
  std::atomic<std::uint32_t> written{0}, cancelled{0};
};

class Enrolment : public v1::EnrolService::CallbackService {
 public:
  grpc::ServerUnaryReactor* Enrol(grpc::CallbackServerContext* context, const v1::EnrolRequest*,
                                  v1::EnrolResponse*) override {
    ++calls;
    auto* reactor = context->DefaultReactor();
    reactor->Finish({grpc::StatusCode::PERMISSION_DENIED, "no such token"});
    return reactor;
  }
  std::atomic<int> calls{0};
};

class console_door : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / fmt::format("weir-door-{}", ::getpid());
    std::filesystem::create_directories(folder_);
    identity_.emplace(folder_);
    grpc::ServerBuilder builder;
    builder.RegisterService(&tokens_);
    builder.RegisterService(&reports_);
    builder.RegisterService(&enrolment_);
    services_ = builder.BuildAndStart();
    open_door(30s);
  }
  void open_door(std::chrono::seconds write_within) {
    auto door = start_console_door(
        {.address = "127.0.0.1:0",
         .certificate = identity_->certificate,
         .key = identity_->key,
         .principal_by_secret = [](const std::string& secret) -> std::optional<std::string> {
           if (secret == "right") return "admin";
           return std::nullopt;
         },
         .write_within = write_within},
        *services_);
    ASSERT_TRUE(door) << door.error().sentence;
    door_ = std::move(*door);
  }
  void TearDown() override {
    if (door_) door_->stop();
    services_->Shutdown(std::chrono::system_clock::now() + 1s);
    std::filesystem::remove_all(folder_);
  }

  std::string address() const { return fmt::format("127.0.0.1:{}", door_->port()); }
  ConnectClient client(const std::string& secret = "right") {
    return ConnectClient({address(), identity_->key_sha256, secret});
  }
  std::string curl(const std::string& options, const std::string& method) {
    std::filesystem::path out = folder_ / "curl";
    std::string command =
        fmt::format("curl -s -k -m 20 {} https://{}/{} -o {} -w '%{{http_code}}' > {}.status",
                    options, address(), method, out.string(), out.string());
    (void)!std::system(command.c_str());
    return read_file(out.string() + ".status") + " " + read_file(out);
  }

  std::filesystem::path folder_;
  std::optional<Identity> identity_;
  Tokens tokens_;
  Reports reports_;
  Enrolment enrolment_;
  std::unique_ptr<grpc::Server> services_;
  std::unique_ptr<ConsoleDoor> door_;
};

constexpr const char* kCreate = "weir.v1.TokenAdminService/CreateToken";
constexpr const char* kWatch = "weir.v1.ReportAdminService/WatchReports";

TEST_F(console_door, a_call_reaches_its_service_and_says_who_asks) {
  v1::CreateTokenRequest request;
  request.set_group("desk");
  auto bytes = client().unary(kCreate, request.SerializeAsString());
  ASSERT_TRUE(bytes) << bytes.error().sentence;
  v1::CreateTokenResponse answer;
  ASSERT_TRUE(answer.ParseFromString(*bytes));
  EXPECT_EQ(answer.token().group(), "desk");
  EXPECT_EQ(answer.token().created_by(), "admin");
}

TEST_F(console_door, an_error_comes_back_with_its_word_and_sentence) {
  v1::CreateTokenRequest request;
  request.set_group("bad");
  auto bytes = client().unary(kCreate, request.SerializeAsString());
  ASSERT_FALSE(bytes);
  EXPECT_EQ(bytes.error().kind, ConnectError::Kind::refused);
  EXPECT_EQ(bytes.error().code, "not_found");
  EXPECT_EQ(bytes.error().sentence, "no group");
}

TEST_F(console_door, nothing_is_said_to_a_door_with_another_key) {
  auto wrong = identity_->key_sha256;
  wrong[0] ^= 1;
  auto bytes = ConnectClient({address(), wrong, "right"}).unary(kCreate, "");
  ASSERT_FALSE(bytes);
  EXPECT_EQ(bytes.error().kind, ConnectError::Kind::impostor);
  EXPECT_EQ(tokens_.calls, 0);
}

TEST_F(console_door, without_a_right_secret_no_service_is_reached) {
  for (const char* secret : {"", "wrong"}) {
    auto bytes = client(secret).unary(kCreate, "");
    ASSERT_FALSE(bytes);
    EXPECT_EQ(bytes.error().code, "unauthenticated");
  }
  EXPECT_EQ(tokens_.calls, 0);
}

TEST_F(console_door, curl_speaks_it_in_json) {
  EXPECT_EQ(curl("-H 'Content-Type: application/json' -H 'Authorization: Bearer right' "
                 "-H 'weir-principal: mallory' -d '{\"group\": \"desk\"}'",
                 kCreate)
                .substr(0, 30),
            R"(200 {"token":{"id":"","group":)");
  EXPECT_NE(read_file(folder_ / "curl").find(R"("createdBy":"admin")"), std::string::npos);
  EXPECT_EQ(curl("-H 'Content-Type: application/json' -d '{}'", kCreate).substr(0, 4), "401 ");
  EXPECT_EQ(curl("-H 'Authorization: Bearer right' -d a=b", kCreate).substr(0, 4), "415 ");
  EXPECT_EQ(curl("", "").substr(0, 4), "404 ");
  EXPECT_EQ(curl("--tls-max 1.2", kCreate).substr(0, 4), "000 ");
}

TEST_F(console_door, a_stream_comes_whole_and_ends_with_its_reason) {
  int seen = 0;
  auto ended = client().stream(kWatch, "", [&](const std::string& bytes) {
    v1::WatchReportsResponse answer;
    EXPECT_TRUE(answer.ParseFromString(bytes));
    EXPECT_EQ(answer.report().id().size(), 1000u);
    ++seen;
    return true;
  });
  EXPECT_EQ(seen, 3);
  ASSERT_FALSE(ended);
  EXPECT_EQ(ended.error().code, "unavailable");
  EXPECT_EQ(ended.error().sentence, "goes home");
}

TEST_F(console_door, a_client_that_goes_ends_its_stream_and_one_that_is_slow_holds_little) {
  v1::WatchReportsRequest request;
  request.set_resume("for ever");
  std::uint32_t written = 0;
  auto ended = client().stream(kWatch, request.SerializeAsString(), [&](const std::string&) {
    // Reads nothing for a while: what the services wrote meanwhile stands in socket buffers.
    std::this_thread::sleep_for(1s);
    written = reports_.written;
    return false;
  });
  EXPECT_TRUE(ended);
  EXPECT_LT(written, 50'000u);  // 50 MB: an unbounded queue would have taken more
  for (int n = 0; n < 100 && reports_.cancelled == 0; ++n) std::this_thread::sleep_for(50ms);
  EXPECT_EQ(reports_.cancelled, 1u);
}

TEST_F(console_door, guessing_tokens_is_slowed_down) {
  int refused = 0, slowed = 0;
  for (int n = 0; n < 60; ++n) {
    auto bytes = client("").unary("weir.v1.EnrolService/Enrol", "");
    ASSERT_FALSE(bytes);
    if (bytes.error().code == "permission_denied") ++refused;
    if (bytes.error().code == "resource_exhausted") ++slowed;
  }
  EXPECT_LE(enrolment_.calls, 40);  // two minutes' worth, if one ended meanwhile
  EXPECT_EQ(refused + slowed, 60);
  EXPECT_GE(slowed, 20);
}

TEST_F(console_door, who_has_a_session_is_not_kept_out_by_guesses_from_its_address) {
  for (int n = 0; n < 60; ++n) (void)client("").unary("weir.v1.EnrolService/Enrol", "");
  EXPECT_EQ(client("").unary("weir.v1.EnrolService/Enrol", "").error().code, "resource_exhausted");
  EXPECT_EQ(client("wrong").unary(kCreate, "").error().code, "resource_exhausted");
  EXPECT_TRUE(client().unary(kCreate, ""));
  EXPECT_EQ(client("").unary("weir.v1.EnrolService/Renew", "").error().code, "unimplemented")
      << "a host's proof is no guess: it reaches its service";
}

TEST_F(console_door, a_client_that_reads_nothing_is_cut_off) {
  door_->stop();
  open_door(1s);
  v1::WatchReportsRequest request;
  request.set_resume("for ever");
  (void)client().stream(kWatch, request.SerializeAsString(), [&](const std::string&) {
    for (int n = 0; n < 200 && reports_.cancelled == 0; ++n) std::this_thread::sleep_for(50ms);
    return false;
  });
  EXPECT_EQ(reports_.cancelled, 1u) << "while the client still held on";
}

TEST_F(console_door, ends_although_clients_hold_on) {
  std::thread watcher([this] {
    v1::WatchReportsRequest request;
    request.set_resume("for ever");
    (void)client().stream(kWatch, request.SerializeAsString(),
                          [](const std::string&) { return true; });
  });
  std::this_thread::sleep_for(500ms);
  auto began = std::chrono::steady_clock::now();
  door_->stop();
  EXPECT_LT(std::chrono::steady_clock::now() - began, 20s);
  watcher.join();
}

}  // namespace
}  // namespace weir
