// weir.v1.PolicyEnvelope as values: see envelope_proto.h.
#include "proto/map/envelope_proto.h"

#include "core/policy/signature.h"
#include "weir/v1/policy.pb.h"

namespace weir {

Result<Envelope> envelope_from_bytes(Bytes bytes) {
  v1::PolicyEnvelope in;
  if (bytes.size() > kMaxEnvelopeBytes) return fail("the envelope is too large");
  if (!in.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
    return fail("the envelope is damaged");
  if (!v1::PolicyEnvelope::GetReflection()->GetUnknownFields(in).empty())
    return fail("the envelope has a part that this version does not know");
  Envelope out;
  out.policy = in.policy();
  out.number = in.number();
  out.not_before_wall_s = in.not_before_wall_s();
  out.expires_wall_s = in.expires_wall_s();
  out.target = in.target();
  out.keys = static_cast<std::size_t>(in.keys_size());
  return out;
}

std::string envelope_bytes(const Envelope& envelope) {
  v1::PolicyEnvelope out;
  out.set_policy(envelope.policy);
  out.set_number(envelope.number);
  out.set_not_before_wall_s(envelope.not_before_wall_s);
  out.set_expires_wall_s(envelope.expires_wall_s);
  out.set_target(envelope.target);
  return out.SerializeAsString();
}

}  // namespace weir
