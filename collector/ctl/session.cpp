// weirctl's session with a collector: see session.h.
#include "collector/ctl/session.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <sstream>

namespace weir {
namespace {

constexpr std::size_t kMaxConfig = 64 << 10;
constexpr std::size_t kSigningKey = 64;  // bytes, as libsodium has them

int digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

Result<std::string> read_config(const std::string& path) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::string text(kMaxConfig + 1, '\0');
  if (file) file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (!file.is_open() || file.bad())
    return fail(fmt::format("can't be read ({})", std::strerror(errno)));
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (text.size() > kMaxConfig)
    return fail(fmt::format("is larger than {} bytes, which no admin.json is", kMaxConfig));
  return text;
}

}  // namespace

Result<AdminFile> read_admin(const std::string& path) {
  Result<std::string> text = read_config(path);
  if (!text) return tl::unexpected(text.error());
  Result<AdminFile> admin = read_admin_file_text(*text);
  if (!admin) return admin;
  if (unhex(admin->door_key_sha256).size() != Door().key_sha256.size())
    return fail("its doorKeySha256 is no SHA-256");
  if (unhex(admin->policy_secret_key).size() != kSigningKey)
    return fail("its policySecretKey is no Ed25519 key");
  return admin;
}

void add_ctl_options(CLI::App& app, CtlOptions& options) {
  static const std::map<std::string, Output> kOutputs{
      {"table", Output::table}, {"json", Output::json}, {"yaml", Output::yaml}};
  options.config = default_config();
  app.add_option("--config", options.config, "the collector's admin.json")
      ->type_name("FILE")
      ->capture_default_str();
  app.add_option("-o,--output", options.output, "how answers are printed")
      ->transform(CLI::CheckedTransformer(kOutputs).description(""))
      ->type_name("table|json|yaml");
}

int parse_arguments(CLI::App& app, int argc, char** argv) {
  try {
    app.parse(argc, argv);
    return -1;
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help
    fmt::print(stderr, "{0}: {1}; `{0} --help` lists what there is\n", app.get_name(),
               error.what());
    return kExitUsage;
  }
}

std::string default_config() {
  if (const char* named = std::getenv("WEIRCTL_CONFIG")) return named;
  const char* home = std::getenv("HOME");
  return std::string(home != nullptr ? home : "") + "/.config/weir/admin.json";
}

std::optional<CtlSession> CtlSession::open(const CtlOptions& options) {
  Result<CtlSession> session = from(options);
  if (session) return std::move(*session);
  fmt::print(stderr, "weirctl: {}\n", session.error().sentence);
  return std::nullopt;
}

Result<CtlSession> CtlSession::from(const CtlOptions& options) {
  Result<AdminFile> admin = read_admin(options.config);
  if (!admin)
    return fail(
        fmt::format("{}: {}; --config names the admin.json that the collector made in its --data "
                    "folder",
                    options.config, admin.error().sentence));
  Door door{admin->address, {}, admin->secret};
  const std::string key = unhex(admin->door_key_sha256);
  std::copy(key.begin(), key.end(), door.key_sha256.begin());
  return CtlSession(std::move(*admin), std::move(door));
}

int CtlSession::failed(const ConnectError& error) {
  fmt::print(stderr, "weirctl: {}\n", error.sentence);
  if (error.kind == ConnectError::Kind::unreachable) return kExitUnreachable;
  if (error.kind == ConnectError::Kind::impostor) return kExitNotAllowed;
  if (error.code == "permission_denied" || error.code == "unauthenticated") return kExitNotAllowed;
  return error.code == "invalid_argument" ? kExitUsage : kExitFailed;
}

int CtlSession::damaged() {
  fmt::print(stderr, "weirctl: the collector's answer is damaged\n");
  return kExitFailed;
}

std::string unhex(std::string_view hex) {
  std::string bytes;
  if (hex.size() % 2 != 0) return bytes;
  for (std::size_t n = 0; n < hex.size(); n += 2) {
    int high = digit(hex[n]), low = digit(hex[n + 1]);
    if (high < 0 || low < 0) return {};
    bytes += static_cast<char>(high * 16 + low);
  }
  return bytes;
}

std::vector<std::string> own_keys(const AdminFile& admin) {
  std::vector<std::string> keys = {unhex(admin.policy_public_key)};
  std::istringstream former(admin.former_public_keys);
  for (std::string hex; former >> hex;) keys.push_back(unhex(hex));
  return keys;
}

}  // namespace weir
