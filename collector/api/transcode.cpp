// A call's body as the services want it: see transcode.h.
#include "collector/api/transcode.h"

#include <fmt/format.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/message.h>
#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "weir/v1/admin.pb.h"
#include "weir/v1/enrol.pb.h"

namespace weir {
namespace {

namespace pb = google::protobuf;

constexpr int kMaxDepth = 32;  // a policy's conditions nest 16 deep

// Of Connect's specification, in the order of gRPC's codes.
struct Code {
  std::string_view word;
  unsigned status;
};
constexpr Code kCodes[] = {
    {"", 200},
    {"canceled", 499},
    {"unknown", 500},
    {"invalid_argument", 400},
    {"deadline_exceeded", 504},
    {"not_found", 404},
    {"already_exists", 409},
    {"permission_denied", 403},
    {"resource_exhausted", 429},
    {"failed_precondition", 400},
    {"aborted", 409},
    {"out_of_range", 400},
    {"unimplemented", 501},
    {"internal", 500},
    {"unavailable", 503},
    {"data_loss", 500},
    {"unauthenticated", 401},
};

const Code& code_of(int grpc_code) {
  bool known = grpc_code >= 0 && grpc_code < static_cast<int>(std::size(kCodes));
  return kCodes[known ? grpc_code : 2];
}

// The services of the console's files only: a desk's are not in them.
const pb::MethodDescriptor* find(std::string_view method) {
  std::size_t slash = method.find('/');
  if (slash == std::string_view::npos) return nullptr;
  std::string service(method.substr(0, slash)), name(method.substr(slash + 1));
  for (const pb::FileDescriptor* file :
       {v1::CreateTokenRequest::descriptor()->file(), v1::EnrolRequest::descriptor()->file()}) {
    for (int n = 0; n < file->service_count(); ++n)
      if (file->service(n)->full_name() == service) return file->service(n)->FindMethodByName(name);
  }
  return nullptr;
}

bool is_enrolment(const pb::MethodDescriptor& method) {
  return method.file() == v1::EnrolRequest::descriptor()->file();
}

std::unique_ptr<pb::Message> make(const pb::Descriptor* type) {
  return std::unique_ptr<pb::Message>(
      pb::MessageFactory::generated_factory()->GetPrototype(type)->New());
}

bool has_unknown(const pb::Message& message) {
  const pb::Reflection& reflection = *message.GetReflection();
  if (!reflection.GetUnknownFields(message).empty()) return true;
  std::vector<const pb::FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  return std::ranges::any_of(fields, [&](const pb::FieldDescriptor* field) {
    if (field->cpp_type() != pb::FieldDescriptor::CPPTYPE_MESSAGE) return false;
    if (!field->is_repeated()) return has_unknown(reflection.GetMessage(message, field));
    for (int n = 0; n < reflection.FieldSize(message, field); ++n)
      if (has_unknown(reflection.GetRepeatedMessage(message, field, n))) return true;
    return false;
  });
}

bool parse(pb::Message& message, const std::string& bytes) {
  pb::io::CodedInputStream in(reinterpret_cast<const std::uint8_t*>(bytes.data()),
                              static_cast<int>(bytes.size()));
  in.SetRecursionLimit(kMaxDepth);
  return message.ParseFromCodedStream(&in) && in.ConsumedEntireMessage();
}

}  // namespace

std::optional<MethodShape> console_method(std::string_view method) {
  const pb::MethodDescriptor* found = find(method);
  if (found == nullptr || found->client_streaming()) return std::nullopt;
  return MethodShape{found->server_streaming()};
}

Result<std::string> request_message(std::string_view method, const std::string& body,
                                    Encoding encoding) {
  const pb::MethodDescriptor* found = find(method);
  if (found == nullptr) return fail(fmt::format("there is no method {}", method));
  std::unique_ptr<pb::Message> message = make(found->input_type());
  if (encoding == Encoding::json) {
    pb::util::JsonParseOptions options;
    options.ignore_unknown_fields = is_enrolment(*found);
    auto status = pb::util::JsonStringToMessage(body.empty() ? "{}" : body, message.get(), options);
    if (!status.ok())
      return fail(fmt::format("the request is no {}: {}", found->input_type()->name(),
                              std::string(status.message())));
  } else if (!parse(*message, body)) {
    return fail(fmt::format("the request is no {}", found->input_type()->name()));
  }
  if (!is_enrolment(*found) && has_unknown(*message))
    return fail("the request has a field that this collector does not know");
  return message->SerializeAsString();
}

Result<std::string> answer_body(std::string_view method, const std::string& message,
                                Encoding encoding) {
  if (encoding == Encoding::proto) return message;
  const pb::MethodDescriptor* found = find(method);
  if (found == nullptr) return fail(fmt::format("there is no method {}", method));
  std::unique_ptr<pb::Message> answer = make(found->output_type());
  if (!answer->ParseFromString(message)) return fail("the answer is damaged");
  pb::util::JsonPrintOptions options;
  options.always_print_primitive_fields = true;
  std::string text;
  if (auto status = pb::util::MessageToJsonString(*answer, &text, options); !status.ok())
    return fail(std::string(status.message()));
  return text;
}

std::string error_body(int grpc_code, std::string_view sentence) {
  pb::Value text;
  text.set_string_value(std::string(sentence));
  std::string quoted;
  (void)pb::util::MessageToJsonString(text, &quoted);
  return fmt::format(R"({{"code":"{}","message":{}}})", connect_code(grpc_code), quoted);
}

std::string_view connect_code(int grpc_code) {
  return code_of(grpc_code).word;
}

unsigned http_status(int grpc_code) {
  return code_of(grpc_code).status;
}

}  // namespace weir
