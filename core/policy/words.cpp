// Tables of words. A new detector gets one line here; a test compares it with make_detectors().
#include "core/policy/words.h"

#include <array>

namespace weir {
namespace {

template <class T>
struct Word {
  T value;
  std::string_view name;
};

constexpr std::array<Word<Action>, 7> kActions = {{{Action::allow, "allow"},
                                                   {Action::log, "log"},
                                                   {Action::warn, "warn"},
                                                   {Action::limit, "limit"},
                                                   {Action::hold, "hold"},
                                                   {Action::block, "block"},
                                                   {Action::isolate, "isolate"}}};

constexpr std::array<Word<Severity>, 5> kSeverities = {{{Severity::info, "info"},
                                                        {Severity::low, "low"},
                                                        {Severity::medium, "medium"},
                                                        {Severity::high, "high"},
                                                        {Severity::critical, "critical"}}};

constexpr std::array<Word<Trust>, 6> kTrusts = {{{Trust::approved, "approved"},
                                                 {Trust::known, "known"},
                                                 {Trust::unknown, "unknown"},
                                                 {Trust::upload, "upload"},
                                                 {Trust::infrastructure, "infrastructure"},
                                                 {Trust::undeclared_udp, "undeclared_udp"}}};

constexpr std::array<Word<Per>, 7> kPers = {
    {{Per::process_tree, "process_tree"},
     {Per::person, "person"},
     {Per::host, "host"},
     {Per::destination, "[person, destination]"},
     {Per::process_tree_destination, "[process_tree, destination]"},
     {Per::host_destination, "[host, destination]"},
     {Per::flow, "flow"}}};

constexpr std::array<DetectorName, 11> kDetectors = {{{"dns_tunnel", true},
                                                      {"encrypted_dns"},
                                                      {"cloud_upload", true},
                                                      {"bulk_egress", true},
                                                      {"messaging_upload"},
                                                      {"mail_attachment"},
                                                      {"tunnel"},
                                                      {"name_mismatch"},
                                                      {"sensitive_content"},
                                                      {"encrypted_container"},
                                                      {"off_baseline"}}};

constexpr std::array<std::string_view, 14> kTypes = {
    "cn_resident_id", "cn_mobile",   "cn_uscc", "cn_passport", "bank_card",
    "email",          "iban",        "us_ssn",  "uk_nino",     "phone_number",
    "ip_address",     "private_key", "api_key", "password"};

constexpr std::array<std::string_view, 6> kChannels = {"dns", "tls", "http", "quic", "tcp", "udp"};

template <class Words, class T>
std::string_view name_in(const Words& words, T value) {
  for (const auto& word : words)
    if (word.value == value) return word.name;
  return "unspecified";
}

template <class T, class Words>
std::optional<T> value_in(const Words& words, std::string_view name) {
  for (const auto& word : words)
    if (word.name == name) return word.value;
  return std::nullopt;
}

}  // namespace

std::string_view action_name(Action action) {
  return name_in(kActions, action);
}
std::string_view severity_name(Severity severity) {
  return name_in(kSeverities, severity);
}
std::string_view trust_name(Trust trust) {
  return name_in(kTrusts, trust);
}
std::string_view per_name(Per per) {
  return name_in(kPers, per);
}

std::optional<Action> action_of(std::string_view name) {
  return value_in<Action>(kActions, name);
}
std::optional<Severity> severity_of(std::string_view name) {
  return value_in<Severity>(kSeverities, name);
}
std::optional<Trust> trust_of(std::string_view name) {
  return value_in<Trust>(kTrusts, name);
}

std::span<const DetectorName> detector_names() {
  return kDetectors;
}
std::span<const std::string_view> sensitive_types() {
  return kTypes;
}
std::span<const std::string_view> channel_names() {
  return kChannels;
}

}  // namespace weir
