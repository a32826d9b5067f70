// The host's key and certificates, by OpenSSL: P-256 only. PEM and DER are texts here, so that no
// header of OpenSSL leaves keys.cpp. Thread: any.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/base/bytes.h"
#include "core/base/result.h"

struct evp_pkey_st;

namespace weir {

class HostKey {
 public:
  static Result<HostKey> generate();
  static Result<HostKey> from_pem(const std::string& pem);
  std::string pem() const;
  std::string request() const;                          // PKCS #10, DER, without names
  std::string sign(Bytes message) const;                // ECDSA with SHA-256, DER
  bool made(const std::string& certificate_pem) const;  // the first certificate holds this key

 private:
  explicit HostKey(evp_pkey_st* key) : key_(key) {}
  struct Free {
    void operator()(evp_pkey_st* key) const;
  };
  std::unique_ptr<evp_pkey_st, Free> key_;
};

inline constexpr std::size_t kMaxCertificate = 8'192;  // DER; a host's has about 600 bytes

Result<std::string> certificate_pem_of(Bytes der);
Result<std::string> certificate_der_of(const std::string& pem);         // the first one
std::optional<std::int64_t> certificate_end_s(const std::string& pem);  // of the first one, UTC

std::string random_of(std::size_t count);  // from the system; ends the process if it has none

}  // namespace weir
