// Statuses, unknown fields, pages.
#include "collector/services/call.h"

#include <google/protobuf/message.h>
#include <google/protobuf/unknown_field_set.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <algorithm>
#include <chrono>

namespace weir {
namespace {

constexpr std::uint32_t kUsualPage = 100, kMaxPage = 1'000;

grpc::StatusCode code_of(Refusal::Kind kind) {
  switch (kind) {
    case Refusal::Kind::invalid:
      return grpc::StatusCode::INVALID_ARGUMENT;
    case Refusal::Kind::denied:
      return grpc::StatusCode::PERMISSION_DENIED;
    case Refusal::Kind::not_found:
      return grpc::StatusCode::NOT_FOUND;
    case Refusal::Kind::conflict:
      return grpc::StatusCode::FAILED_PRECONDITION;
    case Refusal::Kind::full:
      return grpc::StatusCode::RESOURCE_EXHAUSTED;
    case Refusal::Kind::not_built:
      return grpc::StatusCode::UNIMPLEMENTED;
    case Refusal::Kind::unavailable:
      return grpc::StatusCode::UNAVAILABLE;
  }
  return grpc::StatusCode::INTERNAL;
}

}  // namespace

grpc::Status status_of(const Reply<void>& reply) {
  if (reply) return grpc::Status::OK;
  return {code_of(reply.error().kind), reply.error().sentence};
}

grpc::ServerUnaryReactor* answer(grpc::CallbackServerContext* context,
                                 const google::protobuf::Message& request,
                                 const std::function<Reply<void>()>& work) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  if (has_unknown_fields(request))
    reactor->Finish(status_of(refuse(Refusal::Kind::invalid,
                                     "the request has a field that this collector does not know")));
  else
    reactor->Finish(status_of(work()));
  return reactor;
}

// As deep as protobuf's parser goes (100).
bool has_unknown_fields(const google::protobuf::Message& message) {
  const google::protobuf::Reflection& reflection = *message.GetReflection();
  if (!reflection.GetUnknownFields(message).empty()) return true;
  std::vector<const google::protobuf::FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const auto* field : fields) {
    if (field->cpp_type() != google::protobuf::FieldDescriptor::CPPTYPE_MESSAGE) continue;
    if (!field->is_repeated()) {
      if (has_unknown_fields(reflection.GetMessage(message, field))) return true;
      continue;
    }
    for (int n = 0; n < reflection.FieldSize(message, field); ++n)
      if (has_unknown_fields(reflection.GetRepeatedMessage(message, field, n))) return true;
  }
  return false;
}

std::uint32_t page_limit(std::uint32_t asked) {
  return asked == 0 ? kUsualPage : std::min(asked, kMaxPage);
}

std::int64_t wall_now_s() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace weir
