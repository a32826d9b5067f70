// DNS messages.
#include "core/base/result.h"
#include "core/net/dns.h"
#include "core/net/domain.h"
#include "core/net/names.h"
#include "core/net/zone.h"

using namespace weir;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto message = parse_dns(Bytes(data, size));
  if (!message) return 0;
  WEIR_CHECK(message->questions.size() <= kMaxDnsQuestions);
  WEIR_CHECK(message->answers.size() <= kMaxDnsAnswers);
  for (const auto& question : message->questions) {
    WEIR_CHECK(question.name.size() <= 4 * 255);
    const std::string zone = registered_domain(question.name);
    WEIR_CHECK(zone.empty() || within_domain(normal_host(question.name), zone));
  }
  AddressNames names;
  names.learn({}, *message, 0);
  return 0;
}
