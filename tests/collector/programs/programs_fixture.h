// A collector and weirctl as programs, and a host that this process plays: enrolled at the
// console's door, then a stream at the agents'.
#pragma once

#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "collector/api/admin_file.h"
#include "proto/connect/client.h"
#include "tests/collector/fleet/door_fixture.h"
#include "tests/collector/serve/program.h"
#include "weir/v1/admin.pb.h"
#include "weir/v1/enrol.pb.h"

namespace weir {

inline std::string content(const std::string& path) {
  std::stringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

struct Ran {
  int status = 0;
  std::string out, err;
};

class ProgramsTest : public ::testing::Test {
 protected:
  void SetUp() override { start(); }

  std::string data() const { return folder.path() + "/data"; }
  void start(const std::vector<std::string>& more = {}) {
    program.reset();
    std::vector<std::string> words{"serve",       "--data",    data(),       "--listen",
                                   "127.0.0.1:0", "--console", "127.0.0.1:0"};
    words.insert(words.end(), more.begin(), more.end());
    program = std::make_unique<Program>(words);
    ASSERT_TRUE(program->ready()) << program->text;
    const std::size_t at = program->text.find("agents: 127.0.0.1:") + 18;
    agents_port = static_cast<std::uint16_t>(std::stoi(program->text.substr(at)));
    admin = *read_admin_file_text(content(data() + "/admin.json"));
  }
  void stop(int signal = SIGTERM) {
    program->signal(signal);
    (void)program->exit_status();
  }

  template <class Response, class Request>
  Response ask(const std::string& method, const Request& request) {
    Door door{admin.address, {}, admin.secret};
    const std::string pin = unhex(admin.door_key_sha256);
    std::copy(pin.begin(), pin.end(), door.key_sha256.begin());
    auto answer = ConnectClient(door).unary("weir.v1." + method, request.SerializeAsString());
    EXPECT_TRUE(answer) << method << ": " << answer.error().sentence;
    Response response;
    EXPECT_TRUE(answer && response.ParseFromString(*answer));
    return response;
  }
  Ran ctl(const std::vector<std::string>& words) {
    const std::string errors = folder.path() + "/weirctl.err";
    std::string line = WEIRCTL;
    for (const std::string& word : words) line += " '" + word + "'";
    if (std::find(words.begin(), words.end(), "--config") == words.end())
      line += " --config '" + data() + "/admin.json'";
    line += " 2>'" + errors + "'";
    Ran ran;
    std::FILE* out = ::popen(line.c_str(), "r");
    char piece[4'096];
    while (std::size_t got = std::fread(piece, 1, sizeof piece, out)) ran.out.append(piece, got);
    ran.status = WEXITSTATUS(::pclose(out));
    ran.err = content(errors);
    return ran;
  }

  // As at a terminal where `typed` is typed: all that is to be seen there, in `out`.
  Ran ctl_at_a_terminal(std::vector<std::string> words, const std::string& typed) {
    words.insert(words.begin(), WEIRCTL);
    words.insert(words.end(), {"--config", data() + "/admin.json"});
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    int terminal = -1;
    const pid_t pid = ::forkpty(&terminal, nullptr, nullptr, nullptr);
    if (pid == 0) {
      ::execv(argv[0], argv.data());
      ::_exit(127);
    }
    Ran ran;
    EXPECT_EQ(::write(terminal, typed.data(), typed.size()), static_cast<ssize_t>(typed.size()));
    char piece[4'096];
    for (ssize_t got = 0; (got = ::read(terminal, piece, sizeof piece)) > 0;)
      ran.out.append(piece, static_cast<std::size_t>(got));
    int status = 0;
    EXPECT_EQ(::waitpid(pid, &status, 0), pid);
    ::close(terminal);
    ran.status = WEXITSTATUS(status);
    return ran;
  }

  struct PlayedHost {
    std::string id, ca;
    Identity identity;
  };
  PlayedHost enrol(const std::string& name) {
    v1::CreateTokenRequest wanted;
    wanted.set_group("desks");
    const auto made = ask<v1::CreateTokenResponse>("TokenAdminService/CreateToken", wanted);
    v1::EnrolToken token;
    EXPECT_TRUE(token.ParseFromString(bytes_of_base64url(made.text().substr(6))));
    PrivateKey key = PrivateKey::generate();
    v1::EnrolRequest request;
    request.set_secret(token.secret());
    request.set_csr(new_request(key));
    request.set_hostname(name);
    const auto answer = ask<v1::EnrolResponse>("EnrolService/Enrol", request);
    return {answer.host_id(),
            X509Certificate::from_der(bytes_of(answer.agent_ca(0)))->pem(),
            {X509Certificate::from_der(bytes_of(answer.certificate().chain(0)))->pem(), key.pem()}};
  }
  std::unique_ptr<Client> connect(const PlayedHost& host) {
    return std::make_unique<Client>(agents_port, host.ca, host.identity);
  }

  Folder folder;
  std::unique_ptr<Program> program;
  std::uint16_t agents_port = 0;
  AdminFile admin;

 private:
  static std::string bytes_of_base64url(std::string text) {
    for (char& c : text) c = c == '-' ? '+' : c == '_' ? '/' : c;
    const std::size_t padding = (4 - text.size() % 4) % 4;
    text.append(padding, '=');
    std::string bytes(text.size() / 4 * 3, '\0');
    EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()),
                    reinterpret_cast<const unsigned char*>(text.data()),
                    static_cast<int>(text.size()));
    bytes.resize(bytes.size() - padding);
    return bytes;
  }
};

}  // namespace weir
