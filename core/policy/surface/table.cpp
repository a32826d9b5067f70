// The table. A new field gets one line here and one in build.cpp; a test fails if either is
// missing.
#include "core/policy/surface/table.h"

#include <algorithm>
#include <charconv>

#include "core/event/address.h"
#include "core/policy/catalogue.h"
#include "core/policy/host_patterns.h"
#include "core/policy/units.h"
#include "core/policy/words.h"

namespace weir::surface {
namespace {

using Need = Field::Need;
using Kind = Shape::Kind;
using Words = std::vector<std::string>;

// ---- what a scalar may be -------------------------------------------------------------------

constexpr std::size_t kMaxText = 256;  // names of files, programs, interfaces

bool is_id(std::string_view text) {
  return !text.empty() && text.size() <= 64 && text[0] != '-' && text[0] != '_' &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
         });
}

bool is_text(std::string_view text) {
  return !text.empty() && text.size() <= kMaxText &&
         std::all_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) >= 0x20 && c != 0x7f; });
}

bool is_interface(std::string_view text) {  // IFNAMSIZ - 1
  return is_text(text) && text.size() <= 15 && text.find_first_of("/ :") == std::string_view::npos;
}

bool is_file(std::string_view text) {
  return is_text(text) && text.find('/') == std::string_view::npos && text[0] != '.';
}

bool is_path(std::string_view text) {
  return is_text(text) && text[0] == '/';
}

bool is_number(std::string_view text, std::uint32_t least, std::uint32_t most) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && value >= least &&
         value <= most;
}

bool is_count(std::string_view text) {
  return is_number(text, 1, 1'000'000'000);
}
bool is_uid(std::string_view text) {
  return is_number(text, 0, 0xfffffffe);
}
bool is_size(std::string_view text) {
  return parse_size(text).has_value();
}
bool is_duration(std::string_view text) {
  return parse_duration_ns(text).has_value();
}
bool is_window(std::string_view text) {
  return parse_window_ns(text).has_value();
}
bool is_address(std::string_view text) {
  return IpAddress::parse(text).has_value();
}
bool is_prefix(std::string_view text) {
  return Prefix::parse(text).has_value();
}
bool is_domain(std::string_view text) {
  return is_host_pattern(text, false);
}
bool is_host(std::string_view text) {
  return is_host_pattern(text, true);
}

bool is_level(std::string_view text) {
  return text == "report" || text == "tighten" || text == "strict" || is_count(text);
}

Words list_of(std::span<const std::string_view> words) {
  return {words.begin(), words.end()};
}

Words detector_ids() {
  Words ids;
  for (const auto& detector : detector_names()) ids.emplace_back(detector.id);
  return ids;
}

Words categories() {
  return Catalogue::built_in().categories();
}

bool is_upload_target(std::string_view text) {
  return is_id(text);
}  // the builder looks it up

// ---- scalars ----------------------------------------------------------------------------------

constexpr std::string_view kIdPattern = "^[a-z0-9][a-z0-9_-]{0,63}$";
constexpr std::string_view kSizePattern = "^[0-9]+(KiB|MiB|GiB|kB|MB|GB)?$";
constexpr std::string_view kDurationPattern = "^[1-9][0-9]*[smhd]$";

const Shape kId{.what = "an id of a-z, 0-9, '-' and '_', at most 64 long",
                .valid = is_id,
                .pattern = kIdPattern};
const Shape kText{.what = "text of 1 to 256 printable characters", .valid = is_text};
const Shape kInterface{.what = "the name of a network interface", .valid = is_interface};
const Shape kFile{.what = "a file name without a folder", .valid = is_file};
const Shape kPath{.what = "an absolute path", .valid = is_path, .pattern = "^/"};
const Shape kCount{.what = "a whole number of at least 1",
                   .valid = is_count,
                   .pattern = "^[1-9][0-9]*$",
                   .number = true};
const Shape kUid{
    .what = "a login uid (a number)", .valid = is_uid, .pattern = "^[0-9]+$", .number = true};
const Shape kSize{.what = kSizeForm, .valid = is_size, .pattern = kSizePattern, .number = true};
const Shape kDuration{.what = kDurationForm, .valid = is_duration, .pattern = kDurationPattern};
const Shape kWindow{.what = kWindowForm, .valid = is_window, .pattern = kDurationPattern};
const Shape kAddress{.what = "an IPv4 or IPv6 address", .valid = is_address};
const Shape kPrefix{.what = "an address range such as 10.0.0.0/8", .valid = is_prefix};
const Shape kDomain{.what = "a domain such as example.com", .valid = is_domain};
const Shape kHost{.what = "a host name, '*' inside one label only", .valid = is_host};
const Shape kLevel{
    .what = "report, tighten, strict or a number of customers", .valid = is_level, .number = true};
const Shape kUploadTarget{
    .what = "a category or a service", .valid = is_upload_target, .pattern = kIdPattern};
const Shape kNothing{.kind = Kind::nothing, .what = "nothing"};

const Shape kVersion{.words = +[] { return Words{"weir/v1"}; }};
const Shape kMode{.words = +[] { return Words{"observe", "enforce"}; }};
const Shape kOnExit{.words = +[] { return Words{"release", "keep"}; }};
const Shape kOnDeadline{.words = +[] { return Words{"allow", "block"}; }};
const Shape kOnUninspectable{.words = +[] { return Words{"opaque", "clean"}; }};
const Shape kOnFull{.words = +[] { return Words{"stricter", "allow"}; }};
const Shape kOtherFamilies{.words = +[] { return Words{"detect", "prevent"}; }};
const Shape kYesNo{.words = +[] { return Words{"true", "false"}; }};
const Shape kOtherwise{.words = +[] { return Words{"allow", "block"}; }};
const Shape kAsk{.words = +[] { return Words{"justification", "approval"}; }};
const Shape kAbove{.words = +[] { return Words{"own_p99"}; }};
const Shape kCategory{.words = categories};
const Shape kType{.words = +[] { return list_of(sensitive_types()); }};
const Shape kChannel{.words = +[] { return list_of(channel_names()); }};
const Shape kDetector{.words = detector_ids};
const Shape kTrust{.words = +[] {
  return Words{"approved", "known", "unknown", "upload", "infrastructure", "undeclared_udp"};
}};
const Shape kSeverity{.words = +[] { return Words{"info", "low", "medium", "high", "critical"}; }};
const Shape kPerWord{.words = +[] {
  return Words{"process_tree", "person", "host", "destination", "flow"};
}};

const Shape kDomains{.kind = Kind::one_or_list, .item = &kDomain};
const Shape kHosts{.kind = Kind::one_or_list, .item = &kHost};
const Shape kAddresses{.kind = Kind::one_or_list, .item = &kAddress};
const Shape kPrefixes{.kind = Kind::one_or_list, .item = &kPrefix};
const Shape kIds{.kind = Kind::one_or_list, .item = &kId};
const Shape kCategories{.kind = Kind::one_or_list, .item = &kCategory};
const Shape kTrusts{.kind = Kind::one_or_list, .item = &kTrust};
const Shape kUploadTargets{.kind = Kind::one_or_list, .item = &kUploadTarget};
const Shape kDetectors{.kind = Kind::one_or_list, .item = &kDetector};
const Shape kPrograms{.kind = Kind::one_or_list, .item = &kText};
const Shape kUids{.kind = Kind::one_or_list, .item = &kUid};
const Shape kChannels{.kind = Kind::one_or_list, .item = &kChannel};
const Shape kPer{.kind = Kind::one_or_list, .item = &kPerWord};

// ---- objects ----------------------------------------------------------------------------------

const Field kDefaultsFields[] = {
    {"on_deadline", &kOnDeadline, Need::optional,
     "answer to a file that could not be inspected in time"},
    {"on_uninspectable", &kOnUninspectable, Need::optional,
     "what content that can't be inspected counts as"},
    {"on_full", &kOnFull, Need::optional, "what holds when a table of the kernel part is full"},
    {"first_flight", &kSize, Need::optional,
     "bytes that a flow may send before it is named, 2KiB to 1MiB"},
    {"answers", &kSize, Need::optional,
     "bytes in 24h that name, time and address servers of a machine may answer others with"},
    {"other_families", &kOtherFamilies, Need::optional,
     "sockets that no limit counts, such as AF_VSOCK and AF_BLUETOOTH: detect (the default) or "
     "prevent, which takes a kernel with BPF LSM"},
};
const Shape kDefaults{.kind = Kind::object, .fields = kDefaultsFields};

const Field kNetworkFields[] = {
    {"interface", &kInterface, Need::required, "the interface that proves this network"},
    {"gateway", &kAddresses, Need::optional,
     "where the tunnel behind the interface leads: what carries it there is not charged"},
};
const Shape kNetwork{.kind = Kind::object, .fields = kNetworkFields};
const Shape kNetworks{.kind = Kind::map, .item = &kNetwork};

const Field kResolverFields[] = {
    {"address", &kAddress, Need::required, "address of a resolver"},
    {"via", &kId, Need::optional,
     "the named network over which it is reached; without it its answers prove no name"},
};
const Shape kResolver{.kind = Kind::object, .fields = kResolverFields};
const Shape kResolvers{.kind = Kind::list, .item = &kResolver};

const Field kServiceFields[] = {
    {"domains", &kDomains, Need::some, "names of the service and everything below them"},
    {"upload_hosts", &kHosts, Need::some, "hosts that take uploads"},
    {"ranges", &kPrefixes, Need::some, "address ranges that belong to it alone"},
    {"category", &kCategory, Need::optional, "a category of the catalogue"},
    {"no_sni", &kYesNo, Need::optional, "true: its clients send no server name"},
};
const Shape kService{.kind = Kind::object, .fields = kServiceFields};
const Shape kServices{.kind = Kind::map, .item = &kService};

const Shape kIndexes{.kind = Kind::map, .item = &kFile};

const Field kSourceFields[] = {
    {"type", &kType, Need::choice, "a sensitive information type"},
    {"unique", &kCount, Need::optional, "distinct matches needed", "type"},
    {"exact_match", &kId, Need::choice, "an index of this policy"},
    {"rows", &kCount, Need::optional, "distinct rows needed", "exact_match"},
    {"path", &kPath, Need::choice, "files below this folder"},
    {"received_from", &kId, Need::choice, "a service: bytes received from it label the receiver"},
    {"above", &kAbove, Need::optional,
     "own_p99: only what is above the person's own 99th percentile", "received_from"},
    {"floor", &kSize, Need::optional, "bytes that are never counted", "received_from"},
    {"bytes_per_customer", &kCount, Need::optional, "bytes that stand for one customer",
     "received_from"},
};
const Shape kSource{.kind = Kind::object, .fields = kSourceFields};
const Shape kSources{.kind = Kind::list, .item = &kSource};

const Field kWeightFields[] = {
    {"report", &kCount, Need::optional, "customers from which on it is reported"},
    {"tighten", &kCount, Need::optional, "customers from which on limits tighten"},
    {"strict", &kCount, Need::optional, "customers from which on the strict limits hold"},
    {"opaque_counts", &kCount, Need::optional,
     "customers that content counts as that can't be read"},
    {"half_life", &kDuration, Need::optional,
     "time in which the weight halves after the last read"},
};
const Shape kWeight{.kind = Kind::object, .fields = kWeightFields};

const Field kLabelFields[] = {
    {"any", &kSources, Need::required, "what gives the label: any of these"},
    {"weight", &kWeight, Need::optional, "how many customers count as how much"},
};
const Shape kLabel{.kind = Kind::object, .fields = kLabelFields};
const Shape kLabels{.kind = Kind::map, .item = &kLabel};

const Field kSelectorFields[] = {
    {"service", &kId, Need::choice, "a service of this policy or of the catalogue"},
    {"domain", &kDomain, Need::choice, "a domain and everything below it"},
    {"cidr", &kPrefix, Need::choice, "an address range; needs via"},
    {"via", &kId, Need::optional, "the named network over which alone it is approved"},
};
const Shape kSelector{.kind = Kind::object, .fields = kSelectorFields};
const Shape kSelectors{.kind = Kind::list, .item = &kSelector};

const Field kKnownFields[] = {
    {"domain", &kDomain, Need::choice, "a registered domain and everything below it"},
    {"list", &kFile, Need::choice, "a file beside the policy with a domain on each line"},
};
const Shape kKnown{.kind = Kind::object, .fields = kKnownFields};
const Shape kKnowns{.kind = Kind::list, .item = &kKnown};

const Field kDestinationsFields[] = {
    {"approved", &kSelectors, Need::optional, "where labelled data may go, once proven"},
    {"known", &kKnowns, Need::optional, "ordinary places, which trust calls known once proven"},
};
const Shape kDestinations{.kind = Kind::object, .fields = kDestinationsFields};

extern const Shape kDestination;
const Field kDestinationFields[] = {
    {"domain", &kDomains, Need::some, "a domain and everything below it"},
    {"service", &kIds, Need::some, "a service of this policy or of the catalogue"},
    {"cidr", &kPrefixes, Need::some, "an address range"},
    {"category", &kCategories, Need::some, "a category of the catalogue"},
    {"not", &kDestination, Need::some, "none of this"},
};
const Shape kDestination{.kind = Kind::object,
                         .words = +[] { return Words{"approved"}; },
                         .fields = kDestinationFields,
                         .name = "destination"};

extern const Shape kCondition;
const Shape kConditions{.kind = Kind::list, .item = &kCondition};
const Field kConditionFields[] = {
    {"label", &kIds, Need::some, "the tree or person carries one of these labels"},
    {"weight", &kLevel, Need::some, "at least so many customers"},
    {"trust", &kTrusts, Need::some, "how far the destination is proven"},
    {"upload_to", &kUploadTargets, Need::some,
     "the destination is of these categories or services"},
    {"burst", &kSize, Need::some, "an upload of at least so many bytes with little coming back"},
    {"destination", &kDestination, Need::some, "where it goes; several keys must all hold"},
    {"detector", &kDetectors, Need::some, "a finding of one of these detectors"},
    {"program", &kPrograms, Need::some, "name or absolute path of the sending program"},
    {"person", &kUids, Need::some, "login uid"},
    {"channel", &kChannels, Need::some, "protocol"},
    {"all", &kConditions, Need::some, "all of these"},
    {"any", &kConditions, Need::some, "at least one of these"},
    {"not", &kCondition, Need::some, "this does not hold"},
};
const Shape kCondition{.kind = Kind::object, .fields = kConditionFields, .name = "condition"};

const Field kLimitFields[] = {
    {"bytes", &kSize, Need::some, "bytes that may leave"},
    {"customers", &kCount, Need::some, "distinct customers whose data may leave"},
    {"window", &kWindow, Need::optional,
     "1h, 24h or 7d: half at once, the rest refills; without it a total"},
    {"per", &kPer, Need::required,
     "one account for each process_tree, person, host, destination (of a person), flow, or "
     "[process_tree, person or host, destination]"},
};
const Shape kLimit{.kind = Kind::object, .fields = kLimitFields, .name = "limit"};
const Shape kLimits{.kind = Kind::one_or_list, .item = &kLimit};

const Field kHoldFields[] = {
    {"for", &kDuration, Need::required, "how long a flow waits: 1s to 45s in enforce"},
    {"ask", &kAsk, Need::optional, "what the person is asked for"},
    {"otherwise", &kOtherwise, Need::optional,
     "what happens when nobody answered; block if not given"},
};
const Shape kHold{.kind = Kind::object, .fields = kHoldFields};

const Field kAllowFields[] = {
    {"excepts", &kIds, Need::required, "ids of the rules that this sets aside"},
};
const Shape kAllow{.kind = Kind::object, .fields = kAllowFields};

const Field kThenFields[] = {
    {"allow", &kAllow, Need::choice, "sets aside the rules that it names"},
    {"log", &kNothing, Need::choice, "reports, and does nothing else"},
    {"warn", &kNothing, Need::choice, "reports and tells the person"},
    {"limit", &kLimits, Need::choice, "bounds what leaves; of a list each entry counts"},
    {"hold", &kHold, Need::choice, "lets the flow wait for an answer"},
    {"block", &kNothing, Need::choice, "stops it"},
    {"isolate", &kNothing, Need::choice, "cuts the host off, except what it needs to be managed"},
    {"severity", &kSeverity, Need::optional, "of the report; the finding's own if not given"},
};
const Shape kThen{.kind = Kind::object,
                  .words =
                      +[] {
                        return Words{"log", "warn", "block", "isolate"};
                      },
                  .fields = kThenFields};

const Field kRuleFields[] = {
    {"id", &kId, Need::required, "names the rule in reports; each once"},
    {"when", &kCondition, Need::optional, "all keys must hold; without it the rule always applies"},
    {"then", &kThen, Need::required, "what the rule does"},
};
const Shape kRule{.kind = Kind::object, .fields = kRuleFields};
const Shape kRules{.kind = Kind::list, .item = &kRule};

const Field kPolicyFields[] = {
    {"apiVersion", &kVersion, Need::required, "the version of this format"},
    {"name", &kId, Need::required, "names the policy in reports"},
    {"mode", &kMode, Need::optional, "observe (the default): decide and report, stop nothing"},
    {"on_exit", &kOnExit, Need::optional,
     "what holds after the agent is gone: release (the default) or keep"},
    {"defaults", &kDefaults, Need::optional, "what holds where nothing is known in time"},
    {"networks", &kNetworks, Need::optional, "networks by name"},
    {"resolvers", &kResolvers, Need::optional,
     "resolvers whose answers count; those with via prove names"},
    {"never_block", &kPrefixes, Need::optional,
     "addresses that isolation of the host spares: sign-in, the way to the collector"},
    {"services", &kServices, Need::optional, "own services by id, beside the catalogue's"},
    {"indexes", &kIndexes, Need::optional, "exact-match indexes by name: a file beside the policy"},
    {"labels", &kLabels, Need::optional, "labels by name"},
    {"destinations", &kDestinations, Need::optional, "what is approved, what is known"},
    {"rules", &kRules, Need::required,
     "all that match apply; the strictest action wins, every limit counts"},
};
const Shape kPolicy{.kind = Kind::object, .fields = kPolicyFields};

}  // namespace

const Shape& policy_shape() {
  return kPolicy;
}

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (i > 0) out += i + 1 == words.size() ? " or " : ", ";
    out += words[i];
  }
  return out;
}

}  // namespace weir::surface
