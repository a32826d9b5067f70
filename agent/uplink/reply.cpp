// A certificate as the door answers with it: see reply.h.
#include "agent/uplink/reply.h"

#include "weir/v1/enrol.pb.h"

namespace weir {
namespace {

constexpr int kMaxChain = 4;

}  // namespace

Result<void> take_certificate(const v1::Certificate& certificate, const HostKey& key,
                              Identity& identity) {
  if (certificate.chain_size() < 1 || certificate.chain_size() > kMaxChain)
    return fail("it brings no certificate");
  std::string chain;
  for (const std::string& der : certificate.chain()) {
    Result<std::string> pem = certificate_pem_of(bytes_of(der));
    if (!pem) return tl::unexpected(pem.error());
    chain += *pem;
  }
  auto end = certificate_end_s(chain);
  if (!end || !key.made(chain)) return fail("the certificate is of another key");
  identity.key_pem = key.pem();
  identity.certificate_pem = std::move(chain);
  identity.certificate_end_s = *end;
  identity.host.renew_after_s = certificate.renew_after().seconds();
  return {};
}

}  // namespace weir
