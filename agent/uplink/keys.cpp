// The host's key and certificates: see keys.h.
#include "agent/uplink/keys.h"

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/obj_mac.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>

#include <ctime>

namespace weir {
namespace {

template <auto F>
struct Freed {
  template <class T>
  void operator()(T* object) const {
    F(object);
  }
};
using Bio = std::unique_ptr<BIO, Freed<BIO_free_all>>;
using Certificate = std::unique_ptr<X509, Freed<X509_free>>;

std::string text_in(BIO* bio) {
  char* start = nullptr;
  auto size = BIO_get_mem_data(bio, &start);
  return size > 0 ? std::string(start, static_cast<std::size_t>(size)) : std::string();
}

Bio bio_of(std::string_view text) {
  return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

// A password is never asked for: an encrypted file is none of ours.
int no_password(char*, int, int, void*) {
  return 0;
}

Certificate first_certificate(const std::string& pem) {
  Bio bio = bio_of(pem);
  return Certificate(bio ? PEM_read_bio_X509(bio.get(), nullptr, no_password, nullptr) : nullptr);
}

bool is_p256(EVP_PKEY* key) {
  char group[64] = {};
  std::size_t size = 0;
  return EVP_PKEY_get_group_name(key, group, sizeof group, &size) == 1 &&
         OBJ_txt2nid(group) == NID_X9_62_prime256v1;
}

}  // namespace

void HostKey::Free::operator()(evp_pkey_st* key) const {
  EVP_PKEY_free(key);
}

Result<HostKey> HostKey::generate() {
  EVP_PKEY* key = EVP_EC_gen("P-256");
  if (key == nullptr) return fail("no key could be made");
  return HostKey(key);
}

Result<HostKey> HostKey::from_pem(const std::string& pem) {
  Bio bio = bio_of(pem);
  EVP_PKEY* key = bio ? PEM_read_bio_PrivateKey(bio.get(), nullptr, no_password, nullptr) : nullptr;
  if (key == nullptr) return fail("the host's key can't be read");
  HostKey held(key);
  if (!is_p256(key)) return fail("the host's key is not of P-256");
  return held;
}

std::string HostKey::pem() const {
  Bio bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_PrivateKey(bio.get(), key_.get(), nullptr, nullptr, 0, nullptr, nullptr);
  return text_in(bio.get());
}

std::string HostKey::request() const {
  std::unique_ptr<X509_REQ, Freed<X509_REQ_free>> request(X509_REQ_new());
  std::uint8_t* der = nullptr;
  if (!request || X509_REQ_set_pubkey(request.get(), key_.get()) != 1 ||
      X509_REQ_sign(request.get(), key_.get(), EVP_sha256()) <= 0)
    return "";
  int size = i2d_X509_REQ(request.get(), &der);
  std::string text(reinterpret_cast<char*>(der), size > 0 ? static_cast<std::size_t>(size) : 0);
  OPENSSL_free(der);
  return text;
}

std::string HostKey::sign(Bytes message) const {
  std::unique_ptr<EVP_MD_CTX, Freed<EVP_MD_CTX_free>> context(EVP_MD_CTX_new());
  std::size_t size = 0;
  if (!context ||
      EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, key_.get()) != 1 ||
      EVP_DigestSign(context.get(), nullptr, &size, message.data(), message.size()) != 1)
    return "";
  std::string signature(size, '\0');
  if (EVP_DigestSign(context.get(), reinterpret_cast<std::uint8_t*>(signature.data()), &size,
                     message.data(), message.size()) != 1)
    return "";
  signature.resize(size);
  return signature;
}

bool HostKey::made(const std::string& certificate_pem) const {
  Certificate certificate = first_certificate(certificate_pem);
  return certificate && X509_check_private_key(certificate.get(), key_.get()) == 1;
}

Result<std::string> certificate_pem_of(Bytes der) {
  if (der.size() > kMaxCertificate) return fail("a certificate is larger than 8 KiB");
  const std::uint8_t* at = der.data();
  Certificate certificate(d2i_X509(nullptr, &at, static_cast<long>(der.size())));
  if (!certificate || at != der.data() + der.size()) return fail("a certificate can't be read");
  Bio bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509(bio.get(), certificate.get());
  return text_in(bio.get());
}

Result<std::string> certificate_der_of(const std::string& pem) {
  Certificate certificate = first_certificate(pem);
  std::uint8_t* der = nullptr;
  int size = certificate ? i2d_X509(certificate.get(), &der) : -1;
  if (size <= 0) return fail("the host's certificate can't be read");
  std::string text(reinterpret_cast<char*>(der), static_cast<std::size_t>(size));
  OPENSSL_free(der);
  return text;
}

std::optional<std::int64_t> certificate_end_s(const std::string& pem) {
  Certificate certificate = first_certificate(pem);
  std::tm end{};
  if (!certificate || ASN1_TIME_to_tm(X509_get0_notAfter(certificate.get()), &end) != 1)
    return std::nullopt;
  return ::timegm(&end);
}

std::string random_of(std::size_t count) {
  std::string bytes(count, '\0');
  WEIR_CHECK(RAND_bytes(reinterpret_cast<std::uint8_t*>(bytes.data()), static_cast<int>(count)) ==
             1);
  return bytes;
}

}  // namespace weir
