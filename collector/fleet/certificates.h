// X.509 of the fleet: P-256 keys, the collector's own authority, hosts' requests and certificates.
// A host is the URI spiffe://weir/host/<uuid> in its certificate; every other name in it or in a
// request is ignored. Times are seconds since 1970, UTC. Thread: any.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "collector/store/fleet_store.h"
#include "core/base/bytes.h"
#include "core/base/result.h"

struct evp_pkey_st;
struct x509_st;

namespace weir {

inline constexpr std::size_t kMaxRequestBytes = 4'096;      // a P-256 request has about 250
inline constexpr std::size_t kMaxCertificateBytes = 8'192;  // ours have about 600
inline constexpr char kHostUri[] = "spiffe://weir/host/";

class PrivateKey {
 public:
  static PrivateKey generate();  // P-256
  static Result<PrivateKey> from_pem(const std::string& pem);
  std::string pem() const;
  std::string sign(Bytes message) const;  // ECDSA with SHA-256, DER
  evp_pkey_st* raw() const { return key_.get(); }

 private:
  explicit PrivateKey(evp_pkey_st* key);
  struct Free {
    void operator()(evp_pkey_st* key) const;
  };
  std::unique_ptr<evp_pkey_st, Free> key_;
};

class X509Certificate {
 public:
  static Result<X509Certificate> from_der(Bytes der);
  static Result<X509Certificate> from_pem(const std::string& pem);  // the first one in it
  explicit X509Certificate(x509_st* owned);

  std::string der() const;
  std::string pem() const;
  std::string serial() const;   // hex
  std::string host_id() const;  // "": it is no host's
  std::int64_t not_before_s() const;
  std::int64_t not_after_s() const;
  Digest key_sha256() const;                          // of its SubjectPublicKeyInfo
  bool verify(Bytes message, Bytes signature) const;  // ECDSA with SHA-256, DER
  bool matches(const PrivateKey& key) const;
  x509_st* raw() const { return certificate_.get(); }

 private:
  struct Free {
    void operator()(x509_st* certificate) const;
  };
  std::unique_ptr<x509_st, Free> certificate_;
};

// What a stream needs of a host's certificate whose signature was checked already. Reads past the
// key: OpenSSL 3 takes 100 us to decode one, a twentieth of a handshake, to no use here.
struct HostCertificate {
  std::string host_id;  // as X509Certificate::host_id()
  std::int64_t not_after_s = 0;
};
std::optional<HostCertificate> read_host_certificate(const std::string& pem);

struct Validity {
  std::int64_t not_before_s = 0, not_after_s = 0;
};

// A checked PKCS #10 request: its key is P-256 and signed it. Nothing else in it counts.
class CertificateRequest {
 public:
  static Result<CertificateRequest> from_der(Bytes der);
  evp_pkey_st* key() const { return key_.get(); }

 private:
  explicit CertificateRequest(evp_pkey_st* key) : key_(key) {}
  struct Free {
    void operator()(evp_pkey_st* key) const;
  };
  std::unique_ptr<evp_pkey_st, Free> key_;
};

std::string new_request(const PrivateKey& key);  // DER, without names; what a host sends

class Authority {
 public:
  static Authority create(Validity validity);
  static Result<Authority> from_pem(const std::string& certificate, const std::string& key);

  const X509Certificate& certificate() const { return certificate_; }
  std::string key_pem() const { return key_.pem(); }
  X509Certificate issue_host(const CertificateRequest& request, const std::string& host_id,
                             Validity validity) const;
  // For the door that agents knock at. `name`: a DNS name.
  X509Certificate issue_server(const PrivateKey& key, const std::string& name,
                               Validity validity) const;
  bool issued(
      const X509Certificate& certificate) const;  // signed by this one; says nothing of time

 private:
  Authority(X509Certificate certificate, PrivateKey key)
      : certificate_(std::move(certificate)), key_(std::move(key)) {}
  X509Certificate certificate_;
  PrivateKey key_;
};

// For the console door where the administrator brings none. `name`: a DNS name or an IP address.
Result<X509Certificate> self_signed(const PrivateKey& key, const std::string& name,
                                    Validity validity);

}  // namespace weir
