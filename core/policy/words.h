// The short words of the closed sets, as they stand in policies, reports and messages; and the
// lists of names that a policy may use in open sets, with what this version builds of them.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "core/policy/policy.h"

namespace weir {

std::string_view action_name(Action action);
std::string_view severity_name(Severity severity);
std::string_view trust_name(Trust trust);
std::string_view per_name(Per per);  // "process_tree", "[person, destination]" …

std::optional<Action> action_of(std::string_view name);
std::optional<Severity> severity_of(std::string_view name);
std::optional<Trust> trust_of(std::string_view name);

struct DetectorName {
  std::string_view id;
  bool built = false;  // make_detectors() has it in this version
};
std::span<const DetectorName> detector_names();

std::span<const std::string_view> sensitive_types();  // what a label's `type` may name
std::span<const std::string_view> channel_names();

}  // namespace weir
