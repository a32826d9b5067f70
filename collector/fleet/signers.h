// Who has signed what hosts will obey, counted as they count. Thread: any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "collector/store/fleet_store.h"

namespace google::protobuf {
template <class T>
class RepeatedPtrField;
}

namespace weir {

namespace v1 {
class PolicySignature;
}

// How many keys of `trust` have signed; two by one key count once.
std::size_t signers_of(const PolicyTrustRow& trust, const char* purpose, const std::string& bytes,
                       const google::protobuf::RepeatedPtrField<v1::PolicySignature>& signatures,
                       std::int64_t now_s);

}  // namespace weir
