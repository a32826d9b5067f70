// A fleet in a folder of its own: authority, tokens, enrolled agents.
#pragma once

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "collector/fleet/enrolment.h"
#include "tests/collector/store/store_fixture.h"

namespace weir {

inline constexpr std::int64_t kNow = 1'800'000'000;

inline std::string request_by(EVP_PKEY* key) {
  X509_REQ* request = X509_REQ_new();
  X509_REQ_set_pubkey(request, key);
  X509_REQ_sign(request, key, EVP_sha256());
  unsigned char* der = nullptr;
  int size = i2d_X509_REQ(request, &der);
  std::string text(reinterpret_cast<char*>(der), static_cast<std::size_t>(size));
  OPENSSL_free(der);
  X509_REQ_free(request);
  EVP_PKEY_free(key);
  return text;
}
inline std::string rsa_request() {
  return request_by(EVP_RSA_gen(1'024));
}
inline std::string p384_request() {
  return request_by(EVP_EC_gen("P-384"));
}

struct Agent {
  PrivateKey key;
  IssuedCertificate issued;
};

class FleetTest : public StoreTest {
 protected:
  void SetUp() override {
    open();
    hosts = std::make_unique<Hosts>(*fleet);
    enrolment = std::make_unique<Enrolment>(*fleet, *hosts, authority);
  }
  std::string token(std::uint32_t uses = 1) {
    auto made = enrolment->create_token("desks", uses, 3'600, "admin", now_s());
    EXPECT_TRUE(made);
    return made ? made->secret : "";
  }
  Agent enrol() {
    PrivateKey key = PrivateKey::generate();
    auto issued = enrolment->enrol(
        {.secret = token(), .csr = new_request(key), .hostname = "desk", .version = "1"}, now_s());
    EXPECT_TRUE(issued) << issued.error().sentence;
    return {std::move(key), std::move(*issued)};
  }
  virtual std::int64_t now_s() const { return kNow; }

  Authority authority = Authority::create({kNow - 2 * 31'536'000, kNow + 2 * 31'536'000});
  std::unique_ptr<Hosts> hosts;
  std::unique_ptr<Enrolment> enrolment;
};

}  // namespace weir
