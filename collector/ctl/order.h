// An order to a host, as an administrator signs it, and what came of it, in words. Thread: any.
#pragma once

#include <cstdint>
#include <string>

namespace weir {

namespace v1 {
class CommandBody;
class CommandResult;
enum CommandBody_Verb : int;
}  // namespace v1

struct OrderTerms {
  std::string host;                  // id
  std::string principal;             // who asks
  std::string reason;                // for the record, on the host too; may be empty
  std::uint64_t lifetime_s = 3'600;  // a host that is away has so long
  std::uint32_t lease_s = 0;         // of what holds for a time: how long
};

// Without an id, which sign_command() draws.
v1::CommandBody order_to(const OrderTerms& terms, v1::CommandBody_Verb verb, std::int64_t now_s);

std::string reasons_of(const v1::CommandResult& result);  // safe to show

}  // namespace weir
