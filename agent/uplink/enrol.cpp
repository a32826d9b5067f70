// Makes this host a known one: see enrol.h.
#include "agent/uplink/enrol.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "agent/guard/trust.h"
#include "agent/uplink/keys.h"
#include "agent/uplink/reply.h"
#include "core/base/sha256.h"
#include "platform/files/fd.h"
#include "platform/files/small_file.h"
#include "proto/connect/client.h"
#include "weir/v1/enrol.pb.h"

namespace weir {
namespace {

using Kind = DoorFailure::Kind;

constexpr char kIdentity[] = "identity", kTrust[] = "trust";
constexpr std::size_t kMaxHostName = 253;
constexpr int kMaxAuthorities = 4;

Fd open_folder(int at, const char* path) {
  return Fd(::openat(at, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
}

tl::unexpected<DoorFailure> failed(const std::string& name, const char* what) {
  return tl::unexpected(DoorFailure{
      Kind::local, fmt::format("{}: can't be {}: {}", name, what, std::strerror(errno))});
}
tl::unexpected<DoorFailure> local(const Error& error) {
  return tl::unexpected(DoorFailure{Kind::local, error.sentence});
}
tl::unexpected<DoorFailure> nonsense(const std::string& sentence) {
  return tl::unexpected(
      DoorFailure{Kind::refused, "the collector's answer is not usable: " + sentence});
}

Result<PolicyTrust> trust_in(const v1::EnrolResponse& response) {
  PolicyTrust trust;
  trust.group = response.group();
  trust.threshold = response.policy_threshold();
  trust.host = response.host_id();
  trust.number = std::max<std::uint32_t>(response.policy_trust_number(), 1);
  for (const v1::PolicyKey& key : response.policy_keys()) {
    TrustedKey& taken = trust.keys.emplace_back();
    if (key.key_id().size() != taken.id.size() || key.public_key().size() != taken.key.size())
      return fail("a policy key has another length than Ed25519's");
    std::copy(key.key_id().begin(), key.key_id().end(), taken.id.begin());
    std::copy(key.public_key().begin(), key.public_key().end(), taken.key.begin());
    taken.expires_wall_s = key.expires_wall_s();
  }
  return trust;
}

Result<Identity> identity_in(const v1::EnrolResponse& response, const EnrolmentToken& token,
                             const HostKey& key) {
  Identity identity{.host = {.host_id = response.host_id(),
                             .group = response.group(),
                             .agent_address = response.agent_address(),
                             .agent_server_name = response.agent_server_name(),
                             .door_address = token.address,
                             .door_key_sha256 = token.door_key_sha256}};
  if (identity.host.host_id.empty() || identity.host.host_id.size() > 64 ||
      !is_host_and_port(identity.host.agent_address) || identity.host.agent_server_name.empty() ||
      identity.host.agent_server_name.size() > kMaxHostName)
    return fail("it names no host, or no door of the agents");
  if (response.agent_ca_size() < 1 || response.agent_ca_size() > kMaxAuthorities)
    return fail("it brings no authority");
  for (const std::string& der : response.agent_ca()) {
    Result<std::string> pem = certificate_pem_of(bytes_of(der));
    if (!pem) return tl::unexpected(pem.error());
    identity.ca_pem += *pem;
  }
  if (Result<void> taken = take_certificate(response.certificate(), key, identity); !taken)
    return tl::unexpected(taken.error());
  return identity;
}

// The folder may be there already, empty or with what an enrolment left that broke off.
DoorResult<void> lay_down(int state, int folder, const Identity& identity, const std::string& trust,
                          std::optional<uid_t> owner) {
  if (owner && ::fchown(folder, *owner, *owner) != 0)
    return failed(kIdentity, "given to the uplink");
  if (auto written = replace_file(state, kTrust, trust); !written) return local(written.error());
  std::int64_t user = owner ? std::int64_t{*owner} : -1;
  if (auto written = write_identity(folder, identity, user); !written)
    return local(written.error());
  return {};
}

DoorFailure failure_of(const ConnectError& error) {
  bool transient = error.code == "unavailable" || error.code == "deadline_exceeded";
  if (error.kind == ConnectError::Kind::refused && !transient)
    return {Kind::refused, "the collector refused: " + error.sentence};
  if (error.kind == ConnectError::Kind::impostor) return {Kind::refused, error.sentence};
  return {Kind::unreachable, error.sentence};
}

}  // namespace

Result<std::optional<Identity>> enrolled_as(const std::string& state) {
  Fd folder = open_folder(AT_FDCWD, (state + "/" + kIdentity).c_str());
  if (folder) return read_identity(folder.get());
  if (errno == ENOENT) return std::optional<Identity>();
  return fail(fmt::format("{}/{}: {}", state, kIdentity, std::strerror(errno)));
}

DoorResult<HostFacts> enrol(const EnrolmentToken& token, const EnrolmentFacts& facts,
                            const std::string& state, std::optional<uid_t> owner) {
  Fd folder = open_folder(AT_FDCWD, state.c_str());
  if (!folder) return failed(state, "opened");
  if (::mkdirat(folder.get(), kIdentity, 0700) != 0 && errno != EEXIST)
    return failed(kIdentity, "made");
  Fd mine = open_folder(folder.get(), kIdentity);
  if (!mine) return failed(kIdentity, "opened");
  if (::flock(mine.get(), LOCK_EX | LOCK_NB) != 0) return failed(kIdentity, "locked");
  Result<HostKey> key = HostKey::generate();
  if (!key) return local(key.error());
  v1::EnrolRequest request;
  request.set_secret(token.secret);
  request.set_csr(key->request());
  request.set_hostname(facts.hostname.substr(0, kMaxHostName));
  request.set_version(facts.version);
  if (!facts.machine_id.empty()) {
    auto digest = sha256(bytes_of(facts.machine_id));
    request.set_machine_id_digest(digest.data(), digest.size());
  }
  ConnectClient door({token.address, token.door_key_sha256, ""});
  auto answer = door.unary("weir.v1.EnrolService/Enrol", request.SerializeAsString());
  if (!answer) return tl::unexpected(failure_of(answer.error()));
  v1::EnrolResponse response;
  if (!response.ParseFromString(*answer)) return nonsense("it is damaged");
  Result<PolicyTrust> trust = trust_in(response);
  if (!trust) return nonsense(trust.error().sentence);
  Result<std::string> trust_text = write_trust(*trust);
  if (!trust_text) return nonsense(trust_text.error().sentence);
  Result<Identity> identity = identity_in(response, token, *key);
  if (!identity) return nonsense(identity.error().sentence);
  if (auto laid = lay_down(folder.get(), mine.get(), *identity, *trust_text, owner); !laid)
    return tl::unexpected(laid.error());
  return identity->host;
}

}  // namespace weir
