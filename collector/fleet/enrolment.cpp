// The one place where certificates for hosts are decided on.
#include "collector/fleet/enrolment.h"

#include <fmt/format.h>

#include <algorithm>

#include "collector/fleet/crypto.h"

namespace weir {
namespace {

using Kind = Refusal::Kind;

constexpr std::size_t kMaxGroupName = 63, kMaxHostName = 253, kMaxVersion = 64, kMaxMachine = 32;

Validity life_from(std::int64_t now_s) {
  return {now_s - kClockSlack_s, now_s + kCertificateLife_s};
}

IssuedCertificate issued(const X509Certificate& certificate, const Authority& authority,
                         const HostRow& host, std::int64_t now_s) {
  return {.host_id = host.id,
          .group = host.group,
          .chain = {certificate.der(), authority.certificate().der()},
          .not_after_s = certificate.not_after_s(),
          .renew_after_s = now_s + kRenewAfter_s};
}

}  // namespace

bool is_group_name(std::string_view name) {
  return !name.empty() && name.size() <= kMaxGroupName &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
                  c == '.';
         });
}

Reply<NewToken> Enrolment::create_token(const std::string& group, std::uint32_t max_uses,
                                        std::uint32_t lifetime_s, const std::string& created_by,
                                        std::int64_t now_s) {
  if (!is_group_name(group))
    return refuse(Kind::invalid, "a group is named by 1 to 63 of a-z 0-9 - _ .");
  if (max_uses > kMaxTokenUses)
    return refuse(Kind::invalid, fmt::format("a token has at most {} uses", kMaxTokenUses));
  if (lifetime_s > kMaxTokenLife_s) return refuse(Kind::invalid, "a token lives for at most a day");
  NewToken token{.row = {.id = random_uuid(),
                         .group = group,
                         .created_by = created_by,
                         .max_uses = max_uses == 0 ? 1 : max_uses,
                         .created_s = now_s,
                         .expires_s = now_s + (lifetime_s == 0 ? 3'600 : lifetime_s)},
                 .secret = random_bytes(kTokenSecretBytes)};
  if (!store_.add_token(token.row, sha256_of({bytes_of(token.secret)}), now_s))
    return refuse(Kind::unavailable, store_.sentence());
  return token;
}

Reply<IssuedCertificate> Enrolment::enrol(const EnrolmentRequest& request, std::int64_t now_s) {
  // One sentence for every reason: who guesses learns nothing.
  const auto no_token = [] {
    return refuse(Kind::denied, "the token is wrong, used up, expired or revoked");
  };
  if (request.hostname.size() > kMaxHostName || request.version.size() > kMaxVersion ||
      request.machine_id_digest.size() > kMaxMachine)
    return refuse(Kind::invalid, "a name in the request is too long");
  if (request.secret.size() != kTokenSecretBytes) return no_token();
  const Digest secret = sha256_of({bytes_of(request.secret)});
  if (!store_.token_usable(secret, now_s)) return no_token();
  Result<CertificateRequest> csr = CertificateRequest::from_der(bytes_of(request.csr));
  if (!csr) return refuse(Kind::invalid, csr.error().sentence);
  HostRow host{.id = random_uuid(),
               .name = request.hostname,
               .version = request.version,
               .machine = request.machine_id_digest};
  X509Certificate certificate = authority_.issue_host(*csr, host.id, life_from(now_s));
  switch (store_.redeem(secret, now_s, host,
                        {.serial = certificate.serial(),
                         .key = certificate.key_sha256(),
                         .not_after_s = certificate.not_after_s()})) {
    case Redeemed::done:
      break;
    case Redeemed::refused:
      return no_token();
    case Redeemed::full:
      return refuse(Kind::full, fmt::format("the fleet has {} hosts, the limit", kMaxHosts));
    case Redeemed::failed:
      return refuse(Kind::unavailable, "the collector can't write now");
  }
  hosts_.add(host);
  return issued(certificate, authority_, host, now_s);
}

Reply<IssuedCertificate> Enrolment::renew(const RenewalRequest& request, std::int64_t now_s) {
  Result<X509Certificate> old = X509Certificate::from_der(bytes_of(request.old_certificate));
  if (!old) return refuse(Kind::invalid, old.error().sentence);
  if (request.nonce.size() != kNonceBytes)
    return refuse(Kind::invalid, fmt::format("the nonce has {} bytes", kNonceBytes));
  // One that is not entered is a host's too: a collector that was put back from an older copy has
  // forgotten what it issued since. Who the host is stands in what the authority has signed.
  std::optional<HostView> host;
  if (authority_.issued(*old)) host = hosts_.find(old->host_id(), now_s);
  std::optional<CertificateRow> known;
  if (host) known = store_.certificate(old->serial());
  if (!host || (known && (known->host != host->row.number || old->key_sha256() != known->key)))
    return refuse(Kind::denied, "the certificate is not one of this collector's hosts");
  if (host->row.revoked) return refuse(Kind::denied, "the host is revoked");
  if (host->row.cloned)
    return refuse(Kind::denied, "two machines speak with this key: both are held");
  if (old->not_before_s() > now_s) return refuse(Kind::denied, "the certificate is not valid yet");
  if (old->not_after_s() + kRenewExpired_s < now_s)
    return refuse(Kind::denied, "the certificate expired more than 30 days ago: enrol anew");
  std::string message(kRenewContext, sizeof kRenewContext);  // with its zero
  message += request.nonce + request.csr;
  if (!old->verify(bytes_of(message), bytes_of(request.proof)))
    return refuse(Kind::denied, "the proof is not by the certificate's key");
  Result<CertificateRequest> csr = CertificateRequest::from_der(bytes_of(request.csr));
  if (!csr) return refuse(Kind::invalid, csr.error().sentence);
  X509Certificate certificate = authority_.issue_host(*csr, host->row.id, life_from(now_s));
  if (!store_.renew(bytes_of(request.nonce),
                    {.serial = certificate.serial(),
                     .host = host->row.number,
                     .key = certificate.key_sha256(),
                     .not_after_s = certificate.not_after_s()},
                    now_s)) {
    const std::string sentence = store_.sentence();
    if (sentence.empty()) return refuse(Kind::denied, "the nonce was used before");
    return refuse(Kind::unavailable, "the collector can't write now");
  }
  hosts_.renewed(host->row.number, certificate.not_after_s());
  return issued(certificate, authority_, host->row, now_s);
}

}  // namespace weir
