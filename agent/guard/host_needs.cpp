// What a policy needs of its host: see host_needs.h.
#include "agent/guard/host_needs.h"

#include <fmt/format.h>

#include <algorithm>

#include "agent/guard/kept_accounts.h"

namespace weir {
namespace {

constexpr std::string_view kEnforce = "mode: enforce";
constexpr std::string_view kLimit = "then: limit";

std::span<const weir_limit> rows_of(const FlatPolicy& policy) {
  return std::span(policy.header->table).first(policy.header->limits);
}

bool holds(const FlatPolicy& policy) {
  return std::ranges::any_of(rows_of(policy),
                             [](const weir_limit& row) { return row.flags & WEIR_LIMIT_HOLD; });
}

bool has_kept_rows(const FlatPolicy& policy) {
  std::vector<weir_limit> rows(rows_of(policy).begin(), rows_of(policy).end());
  mark_kept_rows(rows);
  return std::ranges::any_of(rows,
                             [](const weir_limit& row) { return row.flags & WEIR_LIMIT_KEPT; });
}

struct Need {
  std::string_view part;     // of the policy, in its words
  std::string_view program;  // that it rests on
};

// In the order in which they are told. What only costs a report, or a moment, is no need: `weir
// doctor` tells it.
std::vector<Need> needs_of(const FlatPolicy& policy, const HostHas& host) {
  std::vector<Need> needs;
  if (policy.header->enforce == 0) return needs;
  // Who a person is shows when a session's first program starts, and what it is called.
  needs.push_back({kEnforce, "weir_exec"});
  // Without what comes in no name is proven, and every connection looks like an upload.
  needs.push_back({policy.header->proves_names != 0 ? "resolvers" : kEnforce, "weir_ingress"});
  if (host.floor && needs_floor(policy))
    for (const std::string_view program : {"weir_floor", "weir_floor_ip", "weir_setsockopt"})
      needs.push_back({kLimit, program});
  // A row that is kept gives nobody more than was written down.
  if (host.keeps && has_kept_rows(policy)) needs.push_back({kLimit, "weir_keep"});
  // TCP's own next try of a stream that waited for a minute comes a minute later.
  if (holds(policy)) needs.push_back({"then: hold", "weir_wake"});
  if (policy.header->state.charged_only != 0) needs.push_back({kNeedsLsm, kLsmProgram});
  return needs;
}

const KernelProgram* find(std::span<const KernelProgram> programs, std::string_view name) {
  const auto at = std::ranges::find(programs, name, &KernelProgram::name);
  return at == programs.end() ? nullptr : &*at;
}

}  // namespace

bool has_program(std::span<const KernelProgram> programs, std::string_view name) {
  const KernelProgram* program = find(programs, name);
  return program != nullptr && program->loaded && program->problem.empty();
}

bool needs_floor(const FlatPolicy& policy) {
  return policy.header->enforce != 0 &&
         std::ranges::any_of(rows_of(policy), [](const weir_limit& row) {
           return (row.flags & (WEIR_LIMIT_HOLD | WEIR_LIMIT_OBSERVE)) == 0;
         });
}

std::vector<std::string> lacks_of(const FlatPolicy& policy, const HostHas& host) {
  std::vector<std::string> lacks;
  for (const Need& need : needs_of(policy, host)) {
    if (has_program(host.programs, need.program)) continue;
    const KernelProgram* program = find(host.programs, need.program);
    const std::string_view name = need.program == kLsmProgram ? "BPF LSM" : need.program;
    lacks.push_back(fmt::format("{}: {}: {}", need.part, name,
                                program != nullptr && !program->problem.empty()
                                    ? std::string_view(program->problem)
                                    : "this kernel does not take it"));
  }
  if (host.floor && needs_floor(policy) && !host.floor_problem.empty())
    lacks.push_back(fmt::format("{}: {}", kLimit, host.floor_problem));
  return lacks;
}

Result<void> check_host(const FlatPolicy& policy, const HostHas& host) {
  const std::vector<std::string> lacks = lacks_of(policy, host);
  if (lacks.empty()) return {};
  return fail(fmt::format("{}", fmt::join(lacks, "; ")));
}

}  // namespace weir
