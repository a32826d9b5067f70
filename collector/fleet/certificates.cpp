// X.509 by OpenSSL 3. What fails inside OpenSSL on our own values is a bug and ends the process;
// what fails on foreign bytes is a sentence.
#include "collector/fleet/certificates.h"

#include <fmt/format.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>

#include "collector/fleet/crypto.h"

namespace weir {
namespace {

template <class T, void (*free_it)(T*)>
struct FreeBy {
  void operator()(T* value) const { free_it(value); }
};
using MdContext = std::unique_ptr<EVP_MD_CTX, FreeBy<EVP_MD_CTX, EVP_MD_CTX_free>>;
using Extension = std::unique_ptr<X509_EXTENSION, FreeBy<X509_EXTENSION, X509_EXTENSION_free>>;
using Request = std::unique_ptr<X509_REQ, FreeBy<X509_REQ, X509_REQ_free>>;
using Names = std::unique_ptr<GENERAL_NAMES, FreeBy<GENERAL_NAMES, GENERAL_NAMES_free>>;
using Time = std::unique_ptr<ASN1_TIME, FreeBy<ASN1_TIME, ASN1_TIME_free>>;
struct FreeExtensions {
  void operator()(X509_EXTENSIONS* all) const {
    sk_X509_EXTENSION_pop_free(all, X509_EXTENSION_free);
  }
};
using Extensions = std::unique_ptr<X509_EXTENSIONS, FreeExtensions>;
struct FreeBytes {
  void operator()(unsigned char* bytes) const { OPENSSL_free(bytes); }
};
struct FreeBio {
  void operator()(BIO* bio) const { BIO_free_all(bio); }
};
using Bio = std::unique_ptr<BIO, FreeBio>;

constexpr std::size_t kMaxDnsName = 253;

Bio reading(const std::string& text) {
  Bio bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  WEIR_CHECK(bio);
  return bio;
}

std::string text_in(BIO* bio) {
  char* data = nullptr;
  long size = BIO_get_mem_data(bio, &data);
  return {data, static_cast<std::size_t>(size)};
}

// From an i2d function: called once for the size, once for the bytes.
template <class T>
std::string der_by(int (*encode)(const T*, unsigned char**), const T* value) {
  int size = encode(value, nullptr);
  WEIR_CHECK(size > 0);
  std::string der(static_cast<std::size_t>(size), '\0');
  auto* at = reinterpret_cast<unsigned char*>(der.data());
  encode(value, &at);
  return der;
}

std::int64_t seconds_of(const ASN1_TIME* time) {
  // Against a fixed day: ASN1_TIME has no accessor for seconds.
  static ASN1_TIME* const epoch = ASN1_TIME_set(nullptr, 0);
  int days = 0, seconds = 0;
  if (ASN1_TIME_diff(&days, &seconds, epoch, time) != 1) return 0;
  return std::int64_t{days} * 86'400 + seconds;
}

std::string host_id_of(const Names& names) {
  // Exactly one name: with two, it would be a choice who this is.
  if (!names || sk_GENERAL_NAME_num(names.get()) != 1) return {};
  const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), 0);
  if (name->type != GEN_URI) return {};
  const ASN1_IA5STRING* uri = name->d.uniformResourceIdentifier;
  std::string_view text(reinterpret_cast<const char*>(ASN1_STRING_get0_data(uri)),
                        static_cast<std::size_t>(ASN1_STRING_length(uri)));
  if (!text.starts_with(kHostUri)) return {};
  return std::string(text.substr(std::string_view(kHostUri).size()));
}

struct Der {
  const unsigned char* at;
  long left;
};

// Takes the next element off `from` and gives what is in it; nothing: it is of another kind, or cut
// short.
std::optional<Der> take(Der& from, int tag, int tag_class = V_ASN1_UNIVERSAL) {
  const unsigned char* at = from.at;
  long size = 0;
  int found_tag = 0, found_class = 0;
  if (from.left <= 0) return std::nullopt;
  const int form = ASN1_get_object(&at, &size, &found_tag, &found_class, from.left);
  constexpr int kFailed = 0x80, kIndefinite = 0x01;
  if ((form & (kFailed | kIndefinite)) != 0 || found_tag != tag || found_class != tag_class)
    return std::nullopt;
  from.left -= at - from.at + size;
  from.at = at + size;
  return Der{at, size};
}

// RFC 5280, 4.1: version, serial, algorithm, issuer, validity, subject, key, extensions.
std::optional<HostCertificate> read_host_der(Der der) {
  auto certificate = take(der, V_ASN1_SEQUENCE);
  auto body = certificate ? take(*certificate, V_ASN1_SEQUENCE) : std::nullopt;
  if (!body || !take(*body, 0, V_ASN1_CONTEXT_SPECIFIC) || !take(*body, V_ASN1_INTEGER) ||
      !take(*body, V_ASN1_SEQUENCE) || !take(*body, V_ASN1_SEQUENCE))
    return std::nullopt;
  auto validity = take(*body, V_ASN1_SEQUENCE);
  if (!validity || !(take(*validity, V_ASN1_UTCTIME) || take(*validity, V_ASN1_GENERALIZEDTIME)) ||
      !take(*body, V_ASN1_SEQUENCE) || !take(*body, V_ASN1_SEQUENCE))
    return std::nullopt;
  Time not_after(d2i_ASN1_TIME(nullptr, &validity->at, validity->left));
  auto extensions = take(*body, 3, V_ASN1_CONTEXT_SPECIFIC);
  if (!not_after || !extensions) return std::nullopt;
  Extensions parsed(d2i_X509_EXTENSIONS(nullptr, &extensions->at, extensions->left));
  if (!parsed) return std::nullopt;
  Names names(static_cast<GENERAL_NAMES*>(
      X509V3_get_d2i(parsed.get(), NID_subject_alt_name, nullptr, nullptr)));
  return HostCertificate{host_id_of(names), seconds_of(not_after.get())};
}

void add_extension(X509* certificate, X509V3_CTX* context, int nid, const std::string& value) {
  Extension extension(X509V3_EXT_conf_nid(nullptr, context, nid, value.c_str()));
  WEIR_CHECK(extension && X509_add_ext(certificate, extension.get(), -1) == 1);
}

struct Fields {
  const char* common_name;
  Validity validity;
  const char* constraints;
  const char* usage;
  const char* purpose;          // null: none
  const std::string* alt_name;  // null: none
};

X509Certificate make(EVP_PKEY* key, const Fields& fields, const X509Certificate* issuer,
                     const PrivateKey& signer) {
  X509Certificate made(X509_new());
  X509* x = made.raw();
  WEIR_CHECK(x != nullptr && X509_set_version(x, 2) == 1);
  std::string serial = random_bytes(16);
  serial[0] = static_cast<char>((serial[0] & 0x7f) | 0x40);  // positive, always 16 bytes
  BIGNUM* number = BN_bin2bn(reinterpret_cast<const unsigned char*>(serial.data()), 16, nullptr);
  WEIR_CHECK(number != nullptr && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(x)) != nullptr);
  BN_free(number);
  WEIR_CHECK(ASN1_TIME_set(X509_getm_notBefore(x), fields.validity.not_before_s) != nullptr);
  WEIR_CHECK(ASN1_TIME_set(X509_getm_notAfter(x), fields.validity.not_after_s) != nullptr);
  WEIR_CHECK(X509_set_pubkey(x, key) == 1);
  X509_NAME* name = X509_get_subject_name(x);
  WEIR_CHECK(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                                        reinterpret_cast<const unsigned char*>(fields.common_name),
                                        -1, -1, 0) == 1);
  X509* parent = issuer == nullptr ? x : issuer->raw();
  WEIR_CHECK(X509_set_issuer_name(x, X509_get_subject_name(parent)) == 1);
  X509V3_CTX context;
  X509V3_set_ctx(&context, parent, x, nullptr, nullptr, 0);
  add_extension(x, &context, NID_basic_constraints, fields.constraints);
  add_extension(x, &context, NID_key_usage, fields.usage);
  add_extension(x, &context, NID_subject_key_identifier, "hash");
  add_extension(x, &context, NID_authority_key_identifier, "keyid:always");
  if (fields.purpose != nullptr) add_extension(x, &context, NID_ext_key_usage, fields.purpose);
  if (fields.alt_name != nullptr)
    add_extension(x, &context, NID_subject_alt_name, *fields.alt_name);
  WEIR_CHECK(X509_sign(x, signer.raw(), EVP_sha256()) > 0);
  return made;
}

bool is_p256(const EVP_PKEY* key) {
  char group[64] = {};
  std::size_t size = 0;
  return key != nullptr && EVP_PKEY_get_id(key) == EVP_PKEY_EC &&
         EVP_PKEY_get_group_name(key, group, sizeof group, &size) == 1 &&
         OBJ_sn2nid(group) == NID_X9_62_prime256v1;
}

bool is_dns_name(const std::string& name) {
  return !name.empty() && name.size() <= kMaxDnsName &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '-' || c == '.';
         });
}

bool is_ip_address(const std::string& name) {
  std::unique_ptr<ASN1_OCTET_STRING, FreeBy<ASN1_OCTET_STRING, ASN1_OCTET_STRING_free>> ip(
      a2i_IPADDRESS(name.c_str()));
  return ip != nullptr;
}

}  // namespace

// ---- keys ---------------------------------------------------------------------------------------

void PrivateKey::Free::operator()(evp_pkey_st* key) const {
  EVP_PKEY_free(key);
}
void CertificateRequest::Free::operator()(evp_pkey_st* key) const {
  EVP_PKEY_free(key);
}
PrivateKey::PrivateKey(evp_pkey_st* key) : key_(key) {}

PrivateKey PrivateKey::generate() {
  EVP_PKEY* key = EVP_EC_gen("P-256");
  WEIR_CHECK(key != nullptr);
  return PrivateKey(key);
}

Result<PrivateKey> PrivateKey::from_pem(const std::string& pem) {
  Bio bio = reading(pem);
  // No pass phrase is ever asked for: a service has nobody to ask.
  auto no_phrase = [](char*, int, int, void*) { return 0; };
  EVP_PKEY* key = PEM_read_bio_PrivateKey(bio.get(), nullptr, no_phrase, nullptr);
  ERR_clear_error();
  if (key == nullptr) return fail("holds no private key in PEM");
  return PrivateKey(key);
}

std::string PrivateKey::pem() const {
  Bio bio(BIO_new(BIO_s_mem()));
  WEIR_CHECK(bio && PEM_write_bio_PKCS8PrivateKey(bio.get(), key_.get(), nullptr, nullptr, 0,
                                                  nullptr, nullptr) == 1);
  return text_in(bio.get());
}

std::string PrivateKey::sign(Bytes message) const {
  MdContext context(EVP_MD_CTX_new());
  std::size_t size = 0;
  WEIR_CHECK(context &&
             EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, key_.get()) == 1);
  WEIR_CHECK(EVP_DigestSign(context.get(), nullptr, &size, message.data(), message.size()) == 1);
  std::string signature(size, '\0');
  WEIR_CHECK(EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(signature.data()),
                            &size, message.data(), message.size()) == 1);
  signature.resize(size);
  return signature;
}

// ---- certificates -------------------------------------------------------------------------------

void X509Certificate::Free::operator()(x509_st* certificate) const {
  X509_free(certificate);
}
X509Certificate::X509Certificate(x509_st* owned) : certificate_(owned) {}

Result<X509Certificate> X509Certificate::from_der(Bytes der) {
  if (der.size() > kMaxCertificateBytes) return fail("the certificate is too large");
  const unsigned char* at = der.data();
  X509Certificate certificate(d2i_X509(nullptr, &at, static_cast<long>(der.size())));
  ERR_clear_error();
  if (certificate.raw() == nullptr || at != der.data() + der.size())
    return fail("no certificate in DER");
  return certificate;
}

Result<X509Certificate> X509Certificate::from_pem(const std::string& pem) {
  Bio bio = reading(pem);
  X509Certificate certificate(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
  ERR_clear_error();
  if (certificate.raw() == nullptr) return fail("holds no certificate in PEM");
  return certificate;
}

std::optional<HostCertificate> read_host_certificate(const std::string& pem) {
  unsigned char* bytes = nullptr;
  long size = 0;
  Bio bio = reading(pem);
  const bool read =
      PEM_bytes_read_bio(&bytes, &size, nullptr, PEM_STRING_X509, bio.get(), nullptr, nullptr) == 1;
  ERR_clear_error();
  if (!read) return std::nullopt;
  std::unique_ptr<unsigned char, FreeBytes> owned(bytes);
  std::optional<HostCertificate> found = read_host_der({bytes, size});
  ERR_clear_error();
  return found;
}

std::string X509Certificate::der() const {
  return der_by<X509>(i2d_X509, raw());
}

std::string X509Certificate::pem() const {
  Bio bio(BIO_new(BIO_s_mem()));
  WEIR_CHECK(bio && PEM_write_bio_X509(bio.get(), raw()) == 1);
  return text_in(bio.get());
}

std::string X509Certificate::serial() const {
  const ASN1_INTEGER* serial = X509_get0_serialNumber(raw());
  return hex({ASN1_STRING_get0_data(serial), static_cast<std::size_t>(ASN1_STRING_length(serial))});
}

std::string X509Certificate::host_id() const {
  return host_id_of(Names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(raw(), NID_subject_alt_name, nullptr, nullptr))));
}

std::int64_t X509Certificate::not_before_s() const {
  return seconds_of(X509_get0_notBefore(raw()));
}
std::int64_t X509Certificate::not_after_s() const {
  return seconds_of(X509_get0_notAfter(raw()));
}

Digest X509Certificate::key_sha256() const {
  std::string der = der_by<X509_PUBKEY>(i2d_X509_PUBKEY, X509_get_X509_PUBKEY(raw()));
  return sha256_of({bytes_of(der)});
}

bool X509Certificate::verify(Bytes message, Bytes signature) const {
  MdContext context(EVP_MD_CTX_new());
  EVP_PKEY* key = X509_get0_pubkey(raw());
  bool good = context && is_p256(key) &&
              EVP_DigestVerifyInit(context.get(), nullptr, EVP_sha256(), nullptr, key) == 1 &&
              EVP_DigestVerify(context.get(), signature.data(), signature.size(), message.data(),
                               message.size()) == 1;
  ERR_clear_error();
  return good;
}

bool X509Certificate::matches(const PrivateKey& key) const {
  bool same = X509_check_private_key(raw(), key.raw()) == 1;
  ERR_clear_error();
  return same;
}

// ---- requests -----------------------------------------------------------------------------------

Result<CertificateRequest> CertificateRequest::from_der(Bytes der) {
  if (der.size() > kMaxRequestBytes)
    return fail(fmt::format("the certificate request is larger than {} bytes", kMaxRequestBytes));
  const unsigned char* at = der.data();
  Request request(d2i_X509_REQ(nullptr, &at, static_cast<long>(der.size())));
  EVP_PKEY* key =
      request && at == der.data() + der.size() ? X509_REQ_get_pubkey(request.get()) : nullptr;
  CertificateRequest checked(key);
  bool signed_by_it = is_p256(key) && X509_REQ_verify(request.get(), key) == 1;
  ERR_clear_error();
  if (key == nullptr) return fail("no certificate request in DER");
  if (!is_p256(key)) return fail("the certificate request's key is not ECDSA P-256");
  if (!signed_by_it) return fail("the certificate request is not signed by its own key");
  return checked;
}

std::string new_request(const PrivateKey& key) {
  Request request(X509_REQ_new());
  WEIR_CHECK(request && X509_REQ_set_pubkey(request.get(), key.raw()) == 1 &&
             X509_REQ_sign(request.get(), key.raw(), EVP_sha256()) > 0);
  return der_by<X509_REQ>(i2d_X509_REQ, request.get());
}

// ---- the authority ------------------------------------------------------------------------------

Authority Authority::create(Validity validity) {
  PrivateKey key = PrivateKey::generate();
  X509Certificate certificate = make(key.raw(),
                                     {"Weir agents", validity, "critical,CA:TRUE,pathlen:0",
                                      "critical,keyCertSign,cRLSign", nullptr, nullptr},
                                     nullptr, key);
  return {std::move(certificate), std::move(key)};
}

Result<Authority> Authority::from_pem(const std::string& certificate, const std::string& key) {
  Result<X509Certificate> read = X509Certificate::from_pem(certificate);
  if (!read) return tl::unexpected(read.error());
  Result<PrivateKey> own = PrivateKey::from_pem(key);
  if (!own) return tl::unexpected(own.error());
  if (!read->matches(*own)) return fail("key and certificate do not belong together");
  return Authority(std::move(*read), std::move(*own));
}

X509Certificate Authority::issue_host(const CertificateRequest& request, const std::string& host_id,
                                      Validity validity) const {
  const std::string uri = std::string("URI:") + kHostUri + host_id;
  return make(
      request.key(),
      {"Weir host", validity, "critical,CA:FALSE", "critical,digitalSignature", "clientAuth", &uri},
      &certificate_, key_);
}

X509Certificate Authority::issue_server(const PrivateKey& key, const std::string& name,
                                        Validity validity) const {
  WEIR_CHECK(is_dns_name(name));
  const std::string alt_name = "DNS:" + name;
  return make(key.raw(),
              {"Weir collector", validity, "critical,CA:FALSE", "critical,digitalSignature",
               "serverAuth", &alt_name},
              &certificate_, key_);
}

bool Authority::issued(const X509Certificate& certificate) const {
  bool good = X509_check_issued(certificate_.raw(), certificate.raw()) == X509_V_OK &&
              X509_verify(certificate.raw(), key_.raw()) == 1;
  ERR_clear_error();
  return good;
}

Result<X509Certificate> self_signed(const PrivateKey& key, const std::string& name,
                                    Validity validity) {
  bool ip = is_ip_address(name);
  ERR_clear_error();
  if (!ip && !is_dns_name(name)) return fail(fmt::format("{}: no DNS name or IP address", name));
  const std::string alt_name = (ip ? "IP:" : "DNS:") + name;
  return make(key.raw(),
              {"Weir console", validity, "critical,CA:FALSE", "critical,digitalSignature",
               "serverAuth", &alt_name},
              nullptr, key);
}

}  // namespace weir
