// Reads and searches the destination catalogue. The format is described at the head of its file.
#include "core/policy/catalogue.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

#include "core/policy/catalogue_text.h"
#include "core/policy/host_patterns.h"

namespace weir {
namespace {

constexpr std::size_t kMaxLine = 512;        // bytes; the longest today has 110
constexpr std::size_t kMaxServices = 10000;  // 32 times today's: a bound, not a goal

std::vector<std::string_view> words_of(std::string_view line) {
  std::vector<std::string_view> words;
  while (true) {
    const std::size_t start = line.find_first_not_of(" \t");
    if (start == std::string_view::npos) return words;
    line.remove_prefix(start);
    const std::size_t end = std::min(line.find_first_of(" \t"), line.size());
    words.push_back(line.substr(0, end));
    line.remove_prefix(end);
  }
}

bool is_id(std::string_view text) {
  return !text.empty() && text.size() <= 64 && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
  });
}

// One line into the service that it belongs to; a sentence if it can't be read.
Result<void> read_service(const std::vector<std::string_view>& words,
                          std::vector<Service>& services) {
  if (words.size() != 5) return fail("'service' needs id, confidence, category and region");
  if (!is_id(words[1]) || !is_id(words[3])) return fail("id and category are a-z, 0-9 and '_'");
  if (words[2] != "A" && words[2] != "B") return fail("confidence is A or B");
  if (words[4] != "-" && words[4] != "cn") return fail("region is 'cn' or '-'");
  if (services.size() == kMaxServices)
    return fail(fmt::format("more than {} services", kMaxServices));
  for (const Service& other : services)
    if (other.id == words[1]) return fail(fmt::format("service '{}' stands there twice", words[1]));
  Service service;
  service.id = words[1];
  service.confidence = words[2][0];
  service.category = words[3];
  if (words[4] == "cn") service.region = "cn";
  services.push_back(std::move(service));
  return {};
}

Result<void> read_line(std::string_view line, std::vector<Service>& services) {
  const auto words = words_of(line);
  if (words[0] == "service") return read_service(words, services);
  if (services.empty()) return fail("a 'service' line comes first");
  if (words.size() < 2) return fail(fmt::format("'{}' has no value", words[0]));
  Service& service = services.back();
  if (words[0] == "title") {
    service.title = line.substr(static_cast<std::size_t>(words[1].data() - line.data()));
    return {};
  }
  for (std::size_t i = 1; i < words.size(); ++i) {
    if (words[0] == "upload" || words[0] == "domain") {
      if (!is_host_pattern(words[i], true)) return fail(fmt::format("'{}' is no host", words[i]));
      (words[0] == "upload" ? service.upload_hosts : service.domains).emplace_back(words[i]);
    } else if (words[0] == "range") {
      auto prefix = Prefix::parse(words[i]);
      if (!prefix) return tl::unexpected(prefix.error());
      service.ranges.push_back(*prefix);
    } else if (words[0] == "flag" && words[i] == "shared_host") {
      service.shared_host = true;
    } else if (words[0] == "flag" && words[i] == "no_sni") {
      service.no_sni = true;
    } else {
      return fail(words[0] == "flag"
                      ? "flags are shared_host and no_sni"
                      : fmt::format("'{}' is none of service, title, upload, domain, "
                                    "range, flag",
                                    words[0]));
    }
  }
  return {};
}

}  // namespace

struct Catalogue::State {
  std::vector<Service> services;
  std::vector<std::string> categories;
  std::unordered_map<std::string_view, std::uint32_t> ids;
  HostPatterns hosts;  // value: index of the service * 2, + 1 for an upload host
  std::vector<std::pair<Prefix, std::uint32_t>> ranges;
};

Catalogue::Catalogue(std::unique_ptr<State> state) : state_(std::move(state)) {}
Catalogue::Catalogue(Catalogue&&) noexcept = default;
Catalogue& Catalogue::operator=(Catalogue&&) noexcept = default;
Catalogue::~Catalogue() = default;

Result<Catalogue> Catalogue::parse(std::string_view text) {
  auto state = std::make_unique<State>();
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.size() > kMaxLine)
      return fail(fmt::format("catalogue line {}: longer than {} bytes", number, kMaxLine));
    if (line.find_first_not_of(" \t") == std::string_view::npos || line[0] == '#') continue;
    if (auto read = read_line(line, state->services); !read)
      return fail(fmt::format("catalogue line {}: {}", number, read.error().sentence));
  }
  for (std::uint32_t i = 0; i < state->services.size(); ++i) {
    const Service& service = state->services[i];
    state->ids.emplace(service.id, i);
    state->categories.push_back(service.category);
    for (const auto& host : service.upload_hosts) state->hosts.add(host, i * 2 + 1);
    for (const auto& host : service.domains) state->hosts.add(host, i * 2);
    for (const auto& range : service.ranges) state->ranges.emplace_back(range, i);
  }
  auto& categories = state->categories;
  std::sort(categories.begin(), categories.end());
  categories.erase(std::unique(categories.begin(), categories.end()), categories.end());
  return Catalogue(std::move(state));
}

const Catalogue& Catalogue::built_in() {
  static const Catalogue catalogue = [] {
    auto parsed = parse(kCatalogueText);
    WEIR_CHECK(parsed);
    return std::move(*parsed);
  }();
  return catalogue;
}

const Service* Catalogue::find_name(std::string_view host, bool* takes_uploads) const {
  if (takes_uploads) *takes_uploads = false;
  std::vector<HostPatterns::Match> matches;
  state_->hosts.find(host, matches);
  if (matches.empty()) return nullptr;
  const auto best = *std::min_element(matches.begin(), matches.end(), [](auto a, auto b) {
    return std::tuple(b.labels, b.literal, a.value / 2) <
           std::tuple(a.labels, a.literal, b.value / 2);
  });
  if (takes_uploads)
    *takes_uploads = std::any_of(matches.begin(), matches.end(), [&](const auto& match) {
      return match.value == (best.value | 1);
    });
  return &state_->services[best.value / 2];
}

const Service* Catalogue::find_address(const IpAddress& address) const {
  const Service* found = nullptr;
  int longest = -1;
  for (const auto& [range, service] : state_->ranges) {
    if (range.length <= longest || !range.contains(address)) continue;
    longest = range.length;
    found = &state_->services[service];
  }
  return found;
}

const Service* Catalogue::find_id(std::string_view id) const {
  auto found = state_->ids.find(id);
  return found == state_->ids.end() ? nullptr : &state_->services[found->second];
}

const std::vector<Service>& Catalogue::services() const {
  return state_->services;
}
const std::vector<std::string>& Catalogue::categories() const {
  return state_->categories;
}

}  // namespace weir
