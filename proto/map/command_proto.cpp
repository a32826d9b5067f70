// weir.v1.CommandBody and weir.v1.TrustSet as values: see command_proto.h.
#include "proto/map/command_proto.h"

#include <google/protobuf/message.h>

#include <algorithm>

#include "core/net/domain.h"
#include "core/net/suffix.h"
#include "core/policy/shuts.h"
#include "proto/map/text.h"
#include "weir/v1/agent.pb.h"
#include "weir/v1/policy.pb.h"

namespace weir {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using Body = v1::CommandBody;

constexpr std::size_t kMaxHostId = 64;
constexpr std::size_t kMaxAsked = 90;  // what fits into the record of it, in bytes
constexpr int kMaxDepth = 8;           // an exception's person's user is the fourth

// Of each verb: the fields that are its own, beside those that every command has.
struct VerbRow {
  Body::Verb verb;
  std::array<int, 3> fields;  // numbers; 0: none
};
constexpr VerbRow kVerbs[] = {
    {Body::block_destination,
     {Body::kLeaseSFieldNumber, Body::kDestinationFieldNumber, Body::kPersonFieldNumber}},
    {Body::isolate, {Body::kLeaseSFieldNumber, 0, 0}},
    {Body::undo, {Body::kLeaseIdFieldNumber, 0, 0}},
    {Body::except, {Body::kLeaseSFieldNumber, Body::kExceptionFieldNumber, 0}},
    {Body::send_health, {0, 0, 0}},
    {Body::renew_certificate, {0, 0, 0}},
    {Body::forget_person, {Body::kPersonFieldNumber, 0, 0}},
    {Body::deny_request, {Body::kExceptionFieldNumber, 0, 0}},
    {Body::join_group, {Body::kJoinFieldNumber, 0, 0}},
    {Body::release, {0, 0, 0}},
    {Body::kill_tree, {Body::kTreeFieldNumber, 0, 0}},
};
constexpr int kOfEvery[] = {Body::kVerbFieldNumber,           Body::kHostIdFieldNumber,
                            Body::kNotBeforeWallSFieldNumber, Body::kExpiresWallSFieldNumber,
                            Body::kReasonFieldNumber,         Body::kIdFieldNumber};

// The name of what is not known, "" if everything is. An enum of proto3 keeps a number that has no
// name: to obey the rest of such a message would be to drop a part of it.
std::string unknown_in(const Message& message, int depth) {
  const google::protobuf::Reflection& reflection = *message.GetReflection();
  if (depth > kMaxDepth || !reflection.GetUnknownFields(message).empty())
    return "a field of " + message.GetDescriptor()->name();
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    const int size = field->is_repeated() ? reflection.FieldSize(message, field) : 1;
    for (int n = 0; n < size; ++n) {
      if (field->cpp_type() == FieldDescriptor::CPPTYPE_ENUM) {
        const int value = field->is_repeated() ? reflection.GetRepeatedEnumValue(message, field, n)
                                               : reflection.GetEnumValue(message, field);
        if (field->enum_type()->FindValueByNumber(value) == nullptr)
          return field->name() + " " + std::to_string(value);
      }
      if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) continue;
      std::string found =
          unknown_in(field->is_repeated() ? reflection.GetRepeatedMessage(message, field, n)
                                          : reflection.GetMessage(message, field),
                     depth + 1);
      if (!found.empty()) return found;
    }
  }
  return {};
}

// The name of a field that its verb does not have.
std::string foreign_field(const Body& body, const VerbRow& row) {
  std::vector<const FieldDescriptor*> fields;
  body.GetReflection()->ListFields(body, &fields);
  for (const FieldDescriptor* field : fields)
    if (std::ranges::find(kOfEvery, field->number()) == std::ranges::end(kOfEvery) &&
        std::ranges::find(row.fields, field->number()) == row.fields.end())
      return field->name();
  return {};
}

std::string asked_text(const v1::Reason& reason) {
  std::string text;
  for (const std::string& word : reason.args()) {
    if (!text.empty()) text += ": ";
    text += word.substr(0, kMaxAsked);
    if (text.size() > kMaxAsked) break;
  }
  text = shown(text);
  if (text.size() <= kMaxAsked) return text;
  std::size_t end = kMaxAsked;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return text.substr(0, end);
}

constexpr std::size_t kMaxRequestIdText = 32, kMaxRuleId = 64, kMaxDomain = 253;

bool is_request_id(const std::string& id) {
  return id.size() <= kMaxRequestIdText && std::ranges::all_of(id, [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '-';
         });
}

bool is_host_name(const std::string& name) {
  return !name.empty() && name.size() <= kMaxDomain && name.front() != '.' &&
         name.find("..") == std::string::npos && !IpAddress::parse(name) &&
         std::ranges::all_of(name, [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '-' || c == '.' ||
                  c == '_';
         });
}

// "" or what is wrong with it. The name counts where one stands: the address that a report has
// beside it is where that name led then.
std::string take_destination(const v1::Destination& in, Exception& out) {
  if (in.kind_case() != v1::Destination::KIND_NOT_SET) return "its destination is no host's";
  out.domain = normal_host(in.name());
  if (!out.domain.empty()) {
    if (!is_host_name(out.domain)) return "its destination has no name of a host";
    return is_icann_suffix(out.domain) ? "its destination is a public suffix" : "";
  }
  const Result<Prefix> prefix = Prefix::parse(in.address());
  if (in.address().empty() || !prefix) return "its destination has neither name nor address";
  out.prefix = *prefix;
  if (out.prefix.length < (out.prefix.address.is_v4() ? 120 : 48))
    return "its destination is wider than a /24 or /48";
  return "";
}

std::string take_exception(const v1::Exception& in, ExceptionTerms& out) {
  if (in.has_customers()) return "an exception in customers is not known here";
  if (!in.has_person() || in.person().user().id_case() != v1::User::kUid ||
      in.person().user().uid() == kNoPerson)
    return "it names no person of this host";
  out.what.person = in.person().user().uid();
  if (in.sets_aside().empty() || static_cast<std::size_t>(in.sets_aside_size()) > kMaxSetAside)
    return "it sets not 1 to 8 rules aside";
  for (const std::string& rule : in.sets_aside()) {
    if (rule.empty() || rule.size() > kMaxRuleId || shown(rule) != rule) return "a rule has no id";
    out.what.sets_aside.push_back(rule);
  }
  if (in.bytes() == 0) return "it grants no bytes";
  out.what.bytes = in.bytes();
  out.until_wall_s = in.has_until() ? in.until().seconds() : 0;
  if (in.has_until() && out.until_wall_s <= 0) return "its end is no time";
  out.name_proven = in.destination().name_proven();
  return take_destination(in.destination(), out.what);
}

void clear_beyond(Prefix& prefix) {
  for (std::size_t bit = prefix.length; bit < 128; ++bit)
    prefix.address.bytes[bit / 8] &= static_cast<std::uint8_t>(~(0x80u >> bit % 8));
}

// A name counts where one stands, as with an exception; an address may be a range.
std::string take_block(const Body& body, BlockTerms& out) {
  const v1::Destination& in = body.destination();
  if (body.lease_s() == 0) return "it has no end";
  if (body.has_person()) {
    if (body.person().user().id_case() != v1::User::kUid || body.person().user().uid() == kNoPerson)
      return "it names no person of this host";
    out.person = body.person().user().uid();
  }
  if (in.kind_case() != v1::Destination::KIND_NOT_SET) return "its destination is no host's";
  out.domain = normal_host(in.name());
  if (!out.domain.empty()) {
    if (!in.address().empty()) return "its destination is a name and an address";
    if (!is_host_name(out.domain)) return "its destination has no name of a host";
    return is_icann_suffix(out.domain) ? "its destination is a public suffix" : "";
  }
  const Result<Prefix> prefix = Prefix::parse(in.address());
  if (in.address().empty() || !prefix) return "its destination has neither name nor address";
  out.prefix = *prefix;
  if (out.prefix.length < (out.prefix.address.is_v4() ? kShortestShutV4 : kShortestShut))
    return "its destination is wider than a /8, or a /16 of IPv6: isolate the host";
  clear_beyond(out.prefix);
  if (!out.prefix.address.is_v4() && out.prefix.contains(*IpAddress::parse("0.0.0.0")))
    return "its destination holds all of IPv4";
  return "";
}

constexpr std::size_t kMaxGroupName = 63;  // as the collector has it

std::string take_join(const Body& body, JoinTerms& out) {
  out.group = body.join().group();
  out.least_number = body.join().least_number();
  out.decided_wall_ms = body.join().decided_wall_ms();
  const bool named = std::ranges::all_of(out.group, [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '-' || c == '_' || c == '.';
  });
  if (out.group.empty() || out.group.size() > kMaxGroupName || !named)
    return "its group has no name of one";
  if (out.decided_wall_ms / 1'000 < body.not_before_wall_s() ||
      out.decided_wall_ms / 1'000 > body.expires_wall_s())
    return "it was decided at another time than it is valid";
  return "";
}

// Of the verbs that have fields of their own. "" or what is wrong.
std::string take_own(const Body& body, CommandTerms& out) {
  if (body.verb() == Body::undo) {
    out.lease.emplace();
    return command_id_of(body.lease_id(), *out.lease)
               ? ""
               : "the id of its lease is not 32 hexadecimal digits";
  }
  if (body.verb() == Body::kill_tree) {
    out.tree = body.tree();
    return out.tree == 0 ? "it names no tree" : "";
  }
  if (body.verb() == Body::block_destination) return take_block(body, out.block.emplace());
  if (body.verb() == Body::isolate) return body.lease_s() == 0 ? "it has no end" : "";
  if (body.verb() == Body::join_group) return take_join(body, out.join.emplace());
  if (body.verb() != Body::except && body.verb() != Body::deny_request) return "";
  ExceptionTerms& terms = out.exception.emplace();
  terms.request_id = body.exception().request_id();
  if (!is_request_id(terms.request_id)) return "its request has no id that this host gives";
  if (body.verb() == Body::deny_request)
    return terms.request_id.empty() ? "it is of no request" : "";
  if (body.lease_s() == 0 && !body.exception().has_until()) return "it has no end";
  return take_exception(body.exception(), terms);
}

tl::unexpected<CommandFault> fault(CommandFault::Kind kind, std::string words) {
  return tl::unexpected(CommandFault{kind, std::move(words)});
}

}  // namespace

tl::expected<CommandTerms, CommandFault> command_from_bytes(Bytes bytes) {
  constexpr auto kDamaged = CommandFault::Kind::damaged;
  constexpr auto kUnknown = CommandFault::Kind::unknown_part;
  Body body;
  if (bytes.size() > kMaxCommandBytes) return fault(kDamaged, "it is too large");
  if (!body.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
    return fault(kDamaged, "its bytes are cut or are none");
  if (std::string part = unknown_in(body, 0); !part.empty()) return fault(kUnknown, part);
  const auto* row = std::ranges::find(kVerbs, body.verb(), &VerbRow::verb);
  if (row == std::ranges::end(kVerbs)) return fault(kDamaged, "it has no verb");
  if (std::string field = foreign_field(body, *row); !field.empty())
    return fault(kDamaged, Body::Verb_Name(row->verb) + " has no " + field);
  CommandTerms out;
  if (!command_id_of(body.id(), out.id))
    return fault(kDamaged, "its id is not 32 hexadecimal digits");
  if (body.host_id().empty() || body.host_id().size() > kMaxHostId)
    return fault(kDamaged, "it names no host");
  if (body.expires_wall_s() <= 0 || body.not_before_wall_s() < 0 ||
      body.expires_wall_s() <= body.not_before_wall_s())
    return fault(kDamaged, "it has no time at which it is valid");
  out.verb = static_cast<std::uint32_t>(body.verb());
  out.host_id = body.host_id();
  out.not_before_wall_s = body.not_before_wall_s();
  out.expires_wall_s = body.expires_wall_s();
  out.lease_s = body.lease_s();
  out.asked = asked_text(body.reason());
  if (std::string wrong = take_own(body, out); !wrong.empty()) return fault(kDamaged, wrong);
  return out;
}

std::string_view verb_name(std::uint32_t verb) {
  constexpr std::array<std::string_view, 12> kNames{"",
                                                    "block_destination",
                                                    "isolate",
                                                    "undo",
                                                    "except",
                                                    "send_health",
                                                    "renew_certificate",
                                                    "forget_person",
                                                    "deny_request",
                                                    "join_group",
                                                    "release",
                                                    "kill_tree"};
  return verb < kNames.size() ? kNames[verb] : "";
}

Result<TrustSetTerms> trust_set_from_bytes(Bytes bytes) {
  v1::TrustSet in;
  if (bytes.size() > kMaxTrustSetBytes) return fail("it is too large");
  if (!in.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
    return fail("its bytes are cut or are none");
  if (!unknown_in(in, 0).empty()) return fail("it has a part that this version does not know");
  TrustSetTerms out;
  out.number = in.number();
  out.threshold = in.threshold();
  if (out.number == 0) return fail("it has no number");
  if (in.keys_size() < 1 || in.keys_size() > static_cast<int>(kMaxTrustSetKeys))
    return fail("it has not 1 to 8 keys");
  if (out.threshold < 1 || out.threshold > static_cast<std::uint32_t>(in.keys_size()))
    return fail("its threshold is not between 1 and the number of its keys");
  for (const v1::PolicyKey& key : in.keys()) {
    TrustSetKey one;
    if (key.public_key().size() != one.key.size() || key.key_id().size() != one.id.size() ||
        key.expires_wall_s() < 0)
      return fail("a key is no Ed25519 key");
    std::copy(key.public_key().begin(), key.public_key().end(), one.key.begin());
    std::copy(key.key_id().begin(), key.key_id().end(), one.id.begin());
    one.expires_wall_s = key.expires_wall_s();
    if (policy_key_id(one.key) != one.id) return fail("a key is not the one it names");
    for (const TrustSetKey& other : out.keys)
      if (other.key == one.key) return fail("a key stands there twice");
    out.keys.push_back(one);
  }
  return out;
}

std::string trust_set_bytes(const TrustSetTerms& trust) {
  v1::TrustSet out;
  out.set_number(trust.number);
  out.set_threshold(trust.threshold);
  for (const TrustSetKey& key : trust.keys) {
    v1::PolicyKey& one = *out.add_keys();
    one.set_key_id(key.id.data(), key.id.size());
    one.set_public_key(key.key.data(), key.key.size());
    one.set_expires_wall_s(key.expires_wall_s);
  }
  return out.SerializeAsString();
}

}  // namespace weir
