// Policy files: YAML to a policy, which must then hold every promise of a policy, also to read and
// to judge by. Then host patterns, whose trie must agree with matching one by one.
#include <cstdlib>

#include "core/policy/compile.h"
#include "core/policy/evaluate.h"
#include "core/policy/explain.h"
#include "core/policy/host_patterns.h"
#include "core/policy/limit_table.h"
#include "core/policy/surface/surface.h"

using namespace weir;

namespace {

void judge(const Policy& policy) {
  WEIR_CHECK(check_policy(policy).empty());
  WEIR_CHECK(policy.limits.size() <= kMaxLimits);
  Facts facts;
  const std::uint64_t open = possible_limits(policy, facts);
  facts.destination.trust = Trust::unknown;
  facts.destination.name = "www.example.com";
  WEIR_CHECK((evaluate(policy, facts).limits & ~open) == 0);
  (void)limit_table(policy);
  (void)unenforceable(policy);
  WEIR_CHECK(!explain(policy, Language::english).empty());
  WEIR_CHECK(!explain(policy, Language::chinese).empty());
}

// The first line as a pattern, the second as a host.
void match(std::string_view text) {
  const std::size_t line = text.find('\n');
  if (line == std::string_view::npos) return;
  const std::string_view pattern = text.substr(0, line);
  const std::string_view host = text.substr(line + 1);
  if (!is_host_pattern(pattern, true)) return;
  HostPatterns trie;
  trie.add(pattern, 1);
  std::vector<HostPatterns::Match> found;
  trie.find(host, found);
  WEIR_CHECK(found.empty() != host_matches(pattern, host));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = text_of(Bytes(data, size));
  match(text);
  const auto policy = parse_policy(text, "p");
  if (policy)
    judge(*policy);
  else
    WEIR_CHECK(policy.error().sentence.starts_with("p:"));
  return 0;
}
