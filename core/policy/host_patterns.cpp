// The trie of host patterns. Depth is bounded by kMaxHostLabels, work by the patterns that match.
#include "core/policy/host_patterns.h"

#include <algorithm>

#include "core/base/result.h"

namespace weir {
namespace {

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

// Labels of a host in lower case, last first; empty if it is none. `storage` holds the characters.
std::vector<std::string_view> reversed_labels(std::string_view host, std::string& storage) {
  if (!host.empty() && host.back() == '.') host.remove_suffix(1);
  if (host.empty() || host.size() > kMaxHostLength) return {};
  storage.assign(host);
  std::transform(storage.begin(), storage.end(), storage.begin(), lower);
  std::vector<std::string_view> labels;
  std::string_view rest = storage;
  while (true) {
    const std::size_t dot = rest.rfind('.');
    const std::string_view label = dot == std::string_view::npos ? rest : rest.substr(dot + 1);
    if (label.empty() || labels.size() == kMaxHostLabels) return {};
    labels.push_back(label);
    if (dot == std::string_view::npos) return labels;
    rest = rest.substr(0, dot);
  }
}

}  // namespace

bool is_host_pattern(std::string_view text, bool stars) {
  std::string storage;
  const auto labels = reversed_labels(text, storage);
  if (labels.empty() || text.back() == '.') return false;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (labels[i].size() > 63) return false;
    for (char c : labels[i]) {
      const bool word = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
      if (!word && !(c == '*' && stars && i > 0)) return false;
    }
  }
  // All digits at the end would be an address, which no name pattern can be.
  return !std::all_of(labels[0].begin(), labels[0].end(),
                      [](char c) { return c >= '0' && c <= '9'; });
}

bool label_matches(std::string_view pattern, std::string_view label) {
  std::size_t p = 0, l = 0, star = std::string_view::npos, resume = 0;
  while (l < label.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = l;
    } else if (p < pattern.size() && pattern[p] == label[l]) {
      ++p, ++l;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      l = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

bool host_matches(std::string_view pattern, std::string_view host) {
  std::string pattern_storage, host_storage;
  const auto wanted = reversed_labels(pattern, pattern_storage);
  const auto labels = reversed_labels(host, host_storage);
  return !wanted.empty() && wanted.size() <= labels.size() &&
         std::equal(wanted.begin(), wanted.end(), labels.begin(), label_matches);
}

HostPatterns::HostPatterns() : nodes_(1) {}

void HostPatterns::add(std::string_view pattern, std::uint32_t value) {
  WEIR_CHECK(is_host_pattern(pattern, true));
  std::string storage;
  std::uint32_t at = 0;
  for (std::string_view label : reversed_labels(pattern, storage)) {
    const auto fresh = static_cast<std::uint32_t>(nodes_.size());
    std::uint32_t next = fresh;
    if (label.find('*') == std::string_view::npos) {
      next = nodes_[at].exact.try_emplace(std::string(label), fresh).first->second;
    } else {
      auto& starred = nodes_[at].starred;
      auto same = std::find_if(starred.begin(), starred.end(),
                               [&](const auto& entry) { return entry.first == label; });
      if (same != starred.end())
        next = same->second;
      else
        starred.emplace_back(label, fresh);
    }
    if (next == fresh) nodes_.emplace_back();
    at = next;
  }
  nodes_[at].values.push_back(value);
}

void HostPatterns::find(std::string_view host, std::vector<Match>& out) const {
  std::string storage;
  const auto labels = reversed_labels(host, storage);
  if (!labels.empty()) walk(0, labels, 0, 0, out);
}

void HostPatterns::walk(std::uint32_t node, const std::vector<std::string_view>& labels,
                        std::size_t depth, std::uint32_t literal, std::vector<Match>& out) const {
  const Node& here = nodes_[node];
  for (std::uint32_t value : here.values)
    out.push_back({value, static_cast<std::uint32_t>(depth), literal});
  if (depth == labels.size()) return;
  const std::string_view label = labels[depth];
  if (auto child = here.exact.find(label); child != here.exact.end())
    walk(child->second, labels, depth + 1, literal + static_cast<std::uint32_t>(label.size()), out);
  for (const auto& [pattern, child] : here.starred) {
    if (!label_matches(pattern, label)) continue;
    const auto fixed =
        pattern.size() - static_cast<std::size_t>(std::count(pattern.begin(), pattern.end(), '*'));
    walk(child, labels, depth + 1, literal + static_cast<std::uint32_t>(fixed), out);
  }
}

}  // namespace weir
