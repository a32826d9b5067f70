// A new certificate by proof of the old key: see renewal.h.
#include "agent/uplink/renewal.h"

#include "agent/uplink/keys.h"
#include "agent/uplink/reply.h"
#include "proto/connect/client.h"
#include "weir/v1/enrol.pb.h"

namespace weir {
namespace {

using Kind = DoorFailure::Kind;

constexpr char kContext[] = "weir renew v1";  // and its zero byte, before nonce and request
constexpr std::size_t kNonce = 16;            // bytes

tl::unexpected<DoorFailure> failed(Kind kind, const std::string& sentence) {
  return tl::unexpected(DoorFailure{kind, sentence});
}

}  // namespace

DoorResult<Identity> renew(int folder, const Identity& identity) {
  Result<HostKey> old = HostKey::from_pem(identity.key_pem), next = HostKey::generate();
  Result<std::string> certificate = certificate_der_of(identity.certificate_pem);
  if (!old) return failed(Kind::local, old.error().sentence);
  if (!next) return failed(Kind::local, next.error().sentence);
  if (!certificate) return failed(Kind::local, certificate.error().sentence);
  if (auto kept = write_next_key(folder, next->pem()); !kept)
    return failed(Kind::local, kept.error().sentence);
  v1::RenewRequest request;
  request.set_csr(next->request());
  request.set_old_certificate(*certificate);
  request.set_nonce(random_of(kNonce));
  request.set_proof(old->sign(
      bytes_of(std::string(kContext, sizeof kContext) + request.nonce() + request.csr())));
  ConnectClient door({identity.host.door_address, identity.host.door_key_sha256, ""});
  auto answer = door.unary("weir.v1.EnrolService/Renew", request.SerializeAsString());
  if (!answer) {
    const ConnectError& error = answer.error();
    bool refused = error.kind == ConnectError::Kind::refused && error.code != "unavailable" &&
                   error.code != "deadline_exceeded" && error.code != "resource_exhausted";
    refused = refused || error.kind == ConnectError::Kind::impostor;
    return failed(refused ? Kind::refused : Kind::unreachable, error.sentence);
  }
  v1::RenewResponse response;
  Identity renewed = identity;
  if (!response.ParseFromString(*answer)) return failed(Kind::refused, "the answer is damaged");
  if (auto taken = take_certificate(response.certificate(), *next, renewed); !taken)
    return failed(Kind::refused, taken.error().sentence);
  if (auto kept = take_renewed(folder, renewed); !kept)
    return failed(Kind::local, kept.error().sentence);
  return renewed;
}

}  // namespace weir
