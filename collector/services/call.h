// What every unary method shares: unknown fields are refused, a Refusal becomes a status, pages are
// bounded. Thread: any.
#pragma once

#include <cstdint>
#include <functional>

#include "collector/base/refusal.h"

namespace google::protobuf {
class Message;
}

namespace grpc {
class CallbackServerContext;
class ServerUnaryReactor;
class Status;
}  // namespace grpc

namespace weir {

grpc::Status status_of(const Reply<void>& reply);

// Runs `work` and finishes the call by what it says. A request with a field that is not known here
// is refused before: a filter that is not understood must not widen an answer.
grpc::ServerUnaryReactor* answer(grpc::CallbackServerContext* context,
                                 const google::protobuf::Message& request,
                                 const std::function<Reply<void>()>& work);

bool has_unknown_fields(const google::protobuf::Message& message);

std::uint32_t page_limit(std::uint32_t asked);  // 0: 100, at most 1000

std::int64_t wall_now_s();

}  // namespace weir
