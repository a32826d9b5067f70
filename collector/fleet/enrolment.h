// How a host becomes a known one and stays it: tokens, first certificate, renewal. Thread: any.
#pragma once

#include <cstdint>
#include <string>

#include "collector/base/refusal.h"
#include "collector/fleet/certificates.h"
#include "collector/fleet/hosts.h"

namespace weir {

inline constexpr std::int64_t kCertificateLife_s = 7 * 86'400;
inline constexpr std::int64_t kRenewAfter_s = kCertificateLife_s * 2 / 3;
// A desk that comes back from a month away renews; after that somebody looks at it first.
inline constexpr std::int64_t kRenewExpired_s = 30 * 86'400;
inline constexpr std::int64_t kClockSlack_s =
    300;  // certificates begin so much before they are made
inline constexpr std::uint32_t kMaxTokenUses = 10'000;
inline constexpr std::uint32_t kMaxTokenLife_s = 86'400;
inline constexpr std::size_t kTokenSecretBytes = 16;
inline constexpr std::size_t kNonceBytes = 16;
inline constexpr char kRenewContext[] = "weir renew v1";
// The name that agents expect in their door's certificate, wherever the collector stands.
inline constexpr char kAgentServerName[] = "agents.collector.weir.internal";

struct NewToken {
  TokenRow row;
  std::string secret;  // 16 bytes; only its hash is kept
};

struct EnrolmentRequest {
  std::string secret, csr, hostname, machine_id_digest, version;
};

struct IssuedCertificate {
  std::string host_id, group;
  std::vector<std::string> chain;  // DER, leaf first
  std::int64_t not_after_s = 0, renew_after_s = 0;
};

struct RenewalRequest {
  std::string csr, old_certificate, proof, nonce;
};

// A name that stands in certificates, policies and lists: 1 to 63 of a-z 0-9 - _ .
bool is_group_name(std::string_view name);

class Enrolment {
 public:
  Enrolment(FleetStore& store, Hosts& hosts, const Authority& authority)
      : store_(store), hosts_(hosts), authority_(authority) {}

  Reply<NewToken> create_token(const std::string& group, std::uint32_t max_uses,
                               std::uint32_t lifetime_s, const std::string& created_by,
                               std::int64_t now_s);
  Reply<IssuedCertificate> enrol(const EnrolmentRequest& request, std::int64_t now_s);
  Reply<IssuedCertificate> renew(const RenewalRequest& request, std::int64_t now_s);

 private:
  FleetStore& store_;
  Hosts& hosts_;
  const Authority& authority_;
};

}  // namespace weir
