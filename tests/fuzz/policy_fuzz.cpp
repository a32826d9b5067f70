// Policy files: YAML to a policy, which must then hold every promise of a policy, also to read and
// to judge by. Then host patterns, whose trie must agree with matching one by one, and lists of
// known domains, each of which must then be found.
#include <cstdlib>

#include "core/policy/compile.h"
#include "core/policy/evaluate.h"
#include "core/policy/explain.h"
#include "core/policy/host_patterns.h"
#include "core/policy/known_names.h"
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

void list(std::string_view text) {
  const auto domains = read_known_list(text, "l");
  if (!domains) return WEIR_CHECK(domains.error().sentence.starts_with("l:"));
  const std::string known = known_text(*domains);
  WEIR_CHECK(known.size() > kMaxKnownBytes || is_known_text(known));
  for (std::string_view rest = known; !rest.empty(); rest.remove_prefix(rest.find('\n') + 1))
    WEIR_CHECK(is_known_host(known, rest.substr(0, rest.find('\n'))));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = text_of(Bytes(data, size));
  match(text);
  list(text);
  ListTexts lists;  // each list that it names is the text itself
  for (const std::string& name : lists_of(text)) lists.emplace(name, std::string(text));
  const auto policy = parse_policy(text, "p", lists);
  if (policy)
    judge(*policy);
  else
    WEIR_CHECK(policy.error().sentence.starts_with("p:"));
  return 0;
}
