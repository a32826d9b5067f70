// What a decision's command must say.
#include "collector/services/request_check.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/policy/exceptions.h"
#include "weir/v1/admin.pb.h"

namespace weir {
namespace {

using Kind = Refusal::Kind;
using Body = v1::CommandBody;

constexpr std::int64_t kClockSlack_s = 60;  // between who signs and the collector

template <class Message>
bool same(const Message& one, const Message& other) {
  return one.SerializeAsString() == other.SerializeAsString();
}

Reply<void> check_bytes(const v1::ExceptionRequest& asked, const v1::Exception& exception,
                        bool beyond) {
  if (asked.bytes() == 0 && !exception.has_bytes()) return {};  // as much as the limit again
  if (!exception.has_bytes())
    return refuse(Kind::invalid, "the exception says no number of bytes, the request does");
  if (exception.bytes() > asked.bytes() && !beyond)
    return refuse(Kind::invalid, fmt::format("the exception is for {} bytes, {} were asked for",
                                             exception.bytes(), asked.bytes()));
  return {};
}

Reply<void> check_time(const v1::ExceptionRequest& asked, const Body& body, bool beyond,
                       std::int64_t now_s) {
  const std::int64_t until_s = body.exception().until().seconds();
  if (until_s <= now_s || body.lease_s() == 0)
    return refuse(Kind::invalid, "the exception has ended already");
  const std::int64_t most_s = asked.duration_s() == 0 ? kUsualException_s : asked.duration_s();
  if ((body.lease_s() > most_s || until_s > now_s + most_s + kClockSlack_s) && !beyond)
    return refuse(Kind::invalid,
                  fmt::format("the exception is for {} s, {} were asked for",
                              std::max<std::int64_t>(body.lease_s(), until_s - now_s), most_s));
  return {};
}

Reply<void> check_exception(const v1::ExceptionRequest& asked, const Body& body, bool beyond,
                            std::int64_t now_s) {
  const v1::Exception& exception = body.exception();
  if (body.verb() != Body::except)
    return refuse(Kind::invalid, "an approval comes with an exception (except)");
  if (exception.id().empty() || exception.id().size() > 64)
    return refuse(Kind::invalid, "the exception has no id");
  if (!same(exception.person(), asked.person()))
    return refuse(Kind::invalid, "the exception is for another person than the request");
  if (!same(exception.destination(), asked.destination()))
    return refuse(Kind::invalid, "the exception is for another destination than the request");
  if (exception.sets_aside_size() != 1 || exception.sets_aside(0) != asked.rule())
    return refuse(Kind::invalid, "the exception is from other rules than the request's");
  if (exception.has_customers()) return refuse(Kind::invalid, "nobody asked for customers");
  if (Reply<void> fits = check_bytes(asked, exception, beyond); !fits) return fits;
  return check_time(asked, body, beyond, now_s);
}

}  // namespace

Reply<RequestRow> decided(const RequestRow& request, const v1::DecideRequestRequest& decision,
                          const std::string& by, std::int64_t now_s) {
  v1::ExceptionRequest asked;
  Body body;
  if (!asked.ParseFromString(request.request))
    return refuse(Kind::unavailable, "the request can't be read");
  if (!body.ParseFromString(decision.command().body()))
    return refuse(Kind::invalid, "the command can't be read");
  if (decision.note().size() > kMaxNote)
    return refuse(Kind::invalid, fmt::format("a note has at most {} bytes", kMaxNote));
  if (body.exception().request_id() != request.id)
    return refuse(Kind::invalid, "the command is about another request");
  RequestRow out = request;
  out.decided_by = by;
  out.decided_s = now_s;
  out.note = decision.note();
  out.command = decision.command().id();
  out.exception.clear();
  if (decision.approve()) {
    if (Reply<void> good = check_exception(asked, body, decision.beyond_asked(), now_s); !good)
      return tl::unexpected(good.error());
    out.state = v1::RequestInfo::approved;
    out.ends_s = body.exception().until().seconds();
    out.exception = body.exception().SerializeAsString();
    return out;
  }
  if (body.verb() != Body::deny_request)
    return refuse(Kind::invalid, "a denial comes with a command that tells it (deny_request)");
  v1::Exception only_id;
  only_id.set_request_id(request.id);
  if (!same(body.exception(), only_id))
    return refuse(Kind::invalid, "a denial grants nothing: it names the request alone");
  out.state = v1::RequestInfo::denied;
  out.ends_s = now_s;
  return out;
}

}  // namespace weir
