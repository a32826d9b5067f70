// Counts of persons and hosts: see used_names.h.
#include "collector/rollout/used_names.h"

#include <algorithm>
#include <utility>

#include "core/net/zone.h"
#include "core/policy/host_patterns.h"
#include "weir/v1/admin.pb.h"

namespace weir {
namespace {

// Below are the system's own accounts, and 65534 is nobody's (Debian's UID_MIN, base-passwd).
constexpr std::uint32_t kFirstPerson = 1000, kNobody = 65534, kNoUid = 0xffffffff;

bool is_person(const v1::UsageRow& row) {
  const v1::User& user = row.person().user();
  return user.has_uid() && user.uid() >= kFirstPerson && user.uid() != kNobody &&
         user.uid() != kNoUid;
}

// What is approved, takes uploads or is infrastructure is none the more known by its use.
bool is_ordinary(const v1::UsageRow& row) {
  return row.trust() == v1::Trust::unknown || row.trust() == v1::Trust::known;
}

void add(std::vector<std::uint32_t>& set, std::uint32_t one) {
  if (set.size() < kMaxCountedUsers && std::find(set.begin(), set.end(), one) == set.end())
    set.push_back(one);
}

}  // namespace

void UsedNames::on(const v1::UsageRow& row, std::uint32_t host) {
  ++rows_;
  if (!row.name_proven() || !is_ordinary(row) || !is_person(row)) return;
  const std::string& name = row.destination();
  if (!is_host_pattern(name, false) || !is_customers_domain(name)) return;
  if (names_.size() >= kMaxUsedNames && !names_.contains(name)) {
    cut_ = true;
    return;
  }
  Users& users = names_[name];
  add(users.persons, row.person().user().uid());
  add(users.hosts, host);
}

// A host says itself who used it: one that lies makes persons, but no second host. A person who
// moves from desk to desk is one person.
std::uint32_t UsedNames::count_of(const Users& users) const {
  const std::size_t hosts = users.hosts.size();
  return static_cast<std::uint32_t>(by_host_ ? hosts : std::min(hosts, users.persons.size()));
}

void UsedNames::result(std::uint32_t persons, v1::ListUsedNamesResponse& out) const {
  std::vector<std::pair<std::uint32_t, const std::string*>> found;
  for (const auto& [name, users] : names_)
    if (const std::uint32_t count = count_of(users); count >= persons)
      found.emplace_back(count, &name);
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first > b.first : *a.second < *b.second;
  });
  out.set_cut(cut_ || found.size() > kMaxToldNames);
  found.resize(std::min(found.size(), kMaxToldNames));
  std::sort(found.begin(), found.end(),
            [](const auto& a, const auto& b) { return *a.second < *b.second; });
  for (const auto& [count, name] : found) {
    v1::UsedName& one = *out.add_names();
    one.set_domain(*name);
    one.set_persons(count);
  }
  out.set_rows(static_cast<std::uint32_t>(std::min<std::uint64_t>(rows_, UINT32_MAX)));
}

}  // namespace weir
