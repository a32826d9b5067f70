// A collector that runs, two hosts of its fleet, and what it costs meanwhile.
#pragma once

#include <fstream>
#include <sstream>

#include "collector/api/admin_file.h"
#include "proto/connect/client.h"
#include "tests/collector/fleet/door_fixture.h"
#include "tests/collector/serve/program.h"
#include "weir/v1/admin.pb.h"
#include "weir/v1/enrol.pb.h"

namespace weir {

// Memory and time of what is shipped, where it was built (make test does); a sanitizer's take many
// times as much of both.
inline constexpr const char* kRelease = WEIR_SOURCE_DIR "/build/bin/weir-collector";

inline std::string content(const std::string& path) {
  std::stringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

struct Member {
  Identity identity;
  std::string ca;
  std::uint16_t port = 0;
};

class RunningCollector : public ::testing::Test {
 protected:
  void SetUp() override {
    ::signal(SIGPIPE, SIG_IGN);  // the doors cut connections
    // A sanitizer's quarantine is no memory of ours.
    ::setenv("ASAN_OPTIONS", "quarantine_size_mb=1:detect_leaks=0", 1);
    program = std::make_unique<Program>(
        std::vector<std::string>{"serve", "--data", folder.path() + "/data", "--listen",
                                 "127.0.0.1:0", "--console", "127.0.0.1:0"},
        std::filesystem::exists(kRelease) ? kRelease : WEIR_COLLECTOR);
    ASSERT_TRUE(program->ready()) << program->text;
    admin = *read_admin_file_text(content(folder.path() + "/data/admin.json"));
    console_port =
        static_cast<std::uint16_t>(std::stoi(admin.address.substr(admin.address.rfind(':') + 1)));
    desk = enrol();
    bad = enrol();
  }

  template <class Answer, class Request>
  Answer ask(const std::string& method, const Request& request, const std::string& secret) {
    Door door{admin.address, {}, secret};
    const std::string pin = unhex(admin.door_key_sha256);
    std::copy(pin.begin(), pin.end(), door.key_sha256.begin());
    auto answered = ConnectClient(door).unary("weir.v1." + method, request.SerializeAsString());
    EXPECT_TRUE(answered) << answered.error().sentence;
    Answer answer;
    answer.ParseFromString(answered ? *answered : "");
    return answer;
  }
  Member enrol() {
    v1::CreateTokenRequest wanted;
    wanted.set_group("desks");
    const auto token =
        ask<v1::CreateTokenResponse>("TokenAdminService/CreateToken", wanted, admin.secret);
    // `weir1.` and base64url of EnrolToken, whose last field is the secret's 16 bytes.
    std::string bytes;
    std::uint32_t bits = 0;
    int have = 0;
    for (char c : token.text().substr(6)) {
      const std::string all = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
      bits = bits << 6 | static_cast<std::uint32_t>(all.find(c));
      if ((have += 6) >= 8) bytes += static_cast<char>(bits >> (have -= 8));
    }
    v1::EnrolToken read;
    EXPECT_TRUE(read.ParseFromString(bytes));
    PrivateKey key = PrivateKey::generate();
    v1::EnrolRequest request;
    request.set_secret(read.secret());
    request.set_csr(new_request(key));
    const auto answer = ask<v1::EnrolResponse>("EnrolService/Enrol", request, "");
    auto pem = [](const std::string& der) {
      return X509Certificate::from_der(bytes_of(der))->pem();
    };
    const std::string& at = answer.agent_address();
    return {{pem(answer.certificate().chain(0)), key.pem()},
            pem(answer.agent_ca(0)),
            static_cast<std::uint16_t>(std::stoi(at.substr(at.rfind(':') + 1)))};
  }

  std::size_t memory(const char* which) const {  // of the collector, bytes
    std::ifstream file(fmt::format("/proc/{}/status", program->pid()));
    for (std::string line; std::getline(file, line);)
      if (line.starts_with(which)) return std::stoull(line.substr(line.find(':') + 1)) << 10;
    return 0;
  }

  Folder folder;
  std::unique_ptr<Program> program;
  AdminFile admin;
  std::uint16_t console_port = 0;
  Member desk, bad;
};

}  // namespace weir
