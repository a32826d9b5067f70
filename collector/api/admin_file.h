// DIR/admin.json, 0600: what lets its reader be the administrator. Written once, at first start;
// later starts only correct address and pin. One JSON object, every value a string, bytes in
// lower-case hex:
//   address           HOST:PORT of the console door, as clients reach it
//   doorKeySha256     SHA-256 of the door's SubjectPublicKeyInfo
//   principal         whose secret it is: "admin"
//   secret            32 random bytes; sent as "Authorization: Bearer <this hex>", the store keeps
//                     its SHA-256
//   policyKeyId       8 bytes: the first of the SHA-256 of the public key
//   policyPublicKey   Ed25519, 32 bytes
//   policySecretKey   Ed25519, 64 bytes as libsodium has them; stands nowhere else
//   formerPublicKeys  those that it took the place of, a space between two; may be missing: none
#pragma once

#include <string>

#include "core/base/result.h"

namespace weir {

struct AdminFile {
  std::string address;
  std::string door_key_sha256, principal, secret;                   // hex but principal
  std::string policy_key_id, policy_public_key, policy_secret_key;  // hex
  std::string former_public_keys;                                   // hex and spaces
};

std::string admin_file_text(const AdminFile& file);
Result<AdminFile> read_admin_file_text(const std::string& text);

}  // namespace weir
