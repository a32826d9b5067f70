// An order to a host.
#include "collector/ctl/order.h"

#include "collector/ctl/sign.h"
#include "proto/map/text.h"
#include "weir/v1/agent.pb.h"

namespace weir {
v1::CommandBody order_to(const OrderTerms& terms, v1::CommandBody_Verb verb, std::int64_t now_s) {
  v1::CommandBody body;
  body.set_verb(verb);
  body.set_host_id(terms.host);
  body.set_not_before_wall_s(now_s - kBackdated_s);
  body.set_expires_wall_s(now_s + static_cast<std::int64_t>(terms.lifetime_s));
  body.set_lease_s(terms.lease_s);
  body.mutable_reason()->set_code("asked");
  body.mutable_reason()->add_args(terms.principal);
  if (!terms.reason.empty()) body.mutable_reason()->add_args(terms.reason);
  return body;
}

std::string reasons_of(const v1::CommandResult& result) {
  std::string text;
  for (const v1::Reason& why : result.why())
    text += (text.empty() ? "" : " ") + (why.text().empty() ? why.code() : why.text());
  return shown(text);
}

}  // namespace weir
