// Every signature against every key that it names: see signers.h.
#include "collector/fleet/signers.h"

#include <set>

#include "collector/fleet/crypto.h"
#include "weir/v1/policy.pb.h"

namespace weir {

std::size_t signers_of(const PolicyTrustRow& trust, const char* purpose, const std::string& bytes,
                       const google::protobuf::RepeatedPtrField<v1::PolicySignature>& signatures,
                       std::int64_t now_s) {
  std::set<std::string> signers;
  for (const PolicyKeyRow& key : trust.keys)
    for (const v1::PolicySignature& one : signatures)
      if (one.key_id() == key.key_id && (key.expires_s == 0 || key.expires_s > now_s) &&
          verify_ed25519(key.public_key, purpose, bytes_of(bytes), one.signature()))
        signers.insert(key.key_id);
  return signers.size();
}

}  // namespace weir
