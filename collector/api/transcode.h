// A call's body as the services want it, and their answer as the client wants it: JSON or protobuf
// in, protobuf through, JSON or protobuf out. Pure; bodies are foreign bytes, bounded by the door.
// Thread: any.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/base/result.h"

namespace weir {

enum class Encoding : std::uint8_t { proto, json };

struct MethodShape {
  bool streams = false;  // the server's answer is a stream
};

// "weir.v1.EnrolService/Enrol"; nothing: there is none that a console may know of.
std::optional<MethodShape> console_method(std::string_view method);

// The request's serialized message. An Error says what is wrong with the body. An administrator's
// request with an unknown field is refused: a filter that is not understood must not widen an
// answer.
Result<std::string> request_message(std::string_view method, const std::string& body,
                                    Encoding encoding);
// A serialized answer in the client's encoding.
Result<std::string> answer_body(std::string_view method, const std::string& message,
                                Encoding encoding);

// Connect's error body: {"code": …, "message": …}. `grpc_code` 1 … 16.
std::string error_body(int grpc_code, std::string_view sentence);
std::string_view connect_code(int grpc_code);  // "permission_denied"
unsigned http_status(int grpc_code);

}  // namespace weir
