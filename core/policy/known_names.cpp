// A sorted text of domains and its search: see known_names.h.
#include "core/policy/known_names.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/net/domain.h"
#include "core/net/zone.h"
#include "core/policy/host_patterns.h"

namespace weir {
namespace {

constexpr std::size_t kMaxShown = 60;  // characters of a wrong line that a sentence repeats

std::string_view trimmed(std::string_view line) {
  line = line.substr(0, line.find('#'));
  while (!line.empty() && (line.back() == ' ' || line.back() == '\t' || line.back() == '\r'))
    line.remove_suffix(1);
  while (!line.empty() && (line.front() == ' ' || line.front() == '\t')) line.remove_prefix(1);
  return line;
}

std::string printable_start(std::string_view text) {
  std::string out;
  for (char c : text.substr(0, kMaxShown)) out += c < 0x20 || c == 0x7f ? '?' : c;
  return out;
}

// A line of the text by a place inside of it: where it begins.
std::size_t line_start(std::string_view text, std::size_t at) {
  const std::size_t before = at == 0 ? std::string_view::npos : text.rfind('\n', at - 1);
  return before == std::string_view::npos ? 0 : before + 1;
}

bool has_line(std::string_view text, std::string_view wanted) {
  std::size_t first = 0, end = text.size();  // both where a line begins
  while (first < end) {
    const std::size_t start = line_start(text, first + (end - first) / 2);
    const std::size_t stop = text.find('\n', start);
    if (stop == std::string_view::npos) return false;  // no such text
    const std::string_view line = text.substr(start, stop - start);
    if (line == wanted) return true;
    if (line < wanted)
      first = stop + 1;
    else
      end = start;
  }
  return false;
}

}  // namespace

std::string known_text(std::vector<std::string> domains) {
  for (std::string& domain : domains) domain = normal_host(domain);
  std::erase_if(domains, [](const std::string& domain) { return !is_customers_domain(domain); });
  std::sort(domains.begin(), domains.end());
  domains.erase(std::unique(domains.begin(), domains.end()), domains.end());
  std::string text;
  for (const std::string& domain : domains) text.append(domain).append(1, '\n');
  return text;
}

bool is_known_text(std::string_view text) {
  if (text.size() > kMaxKnownBytes) return false;
  std::string_view before;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos) return false;
    const std::string_view line = text.substr(0, end);
    const bool lower =
        std::none_of(line.begin(), line.end(), [](char c) { return c >= 'A' && c <= 'Z'; });
    if (!lower || !is_host_pattern(line, false) || line <= before) return false;
    before = line;
    text.remove_prefix(end + 1);
  }
  return true;
}

std::size_t known_count(std::string_view text) {
  return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}

bool is_known_host(std::string_view text, std::string_view host) {
  if (text.empty() || host.empty()) return false;
  return has_line(text, customers_domain(host));
}

Result<std::vector<std::string>> read_known_list(std::string_view file, std::string_view name) {
  std::vector<std::string> domains;
  for (std::size_t line = 1; !file.empty(); ++line) {
    const std::size_t end = std::min(file.find('\n'), file.size());
    const std::string_view text = trimmed(file.substr(0, end));
    file.remove_prefix(std::min(end + 1, file.size()));
    if (text.empty()) continue;
    std::string domain = normal_host(text);
    if (!is_host_pattern(domain, false))
      return fail(
          fmt::format("{}:{}: '{}' is no domain; a line has one such as example.com (other "
                      "letters in their xn-- form)",
                      name, line, printable_start(text)));
    domains.push_back(std::move(domain));
  }
  return domains;
}

}  // namespace weir
