// Which ordinary places many persons of a group use, out of the usage rows of their hosts. Only
// names that a resolver of the policy has proven count; what comes out is for an administrator to
// read and to sign. Pure. Thread: one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

namespace weir {

namespace v1 {
class ListUsedNamesResponse;
class UsageRow;
}  // namespace v1

inline constexpr std::size_t kMaxUsedNames = 200'000;  // of a group in some weeks; 100 MB at most
inline constexpr std::size_t kMaxToldNames = 20'000;   // the most used of them; an answer of 1 MB
// Persons and hosts of a name that are told apart; more are as good as so many.
inline constexpr std::size_t kMaxCountedUsers = 32;

class UsedNames {
 public:
  // `by_host`: each host counts as one person, for desks whose local accounts have all one number.
  explicit UsedNames(bool by_host) : by_host_(by_host) {}

  void on(const v1::UsageRow& row, std::uint32_t host);
  // Names that at least so many persons used, in order.
  void result(std::uint32_t persons, v1::ListUsedNamesResponse& out) const;

 private:
  struct Users {
    std::vector<std::uint32_t> persons, hosts;
  };
  std::uint32_t count_of(const Users& users) const;

  const bool by_host_;
  std::unordered_map<std::string, Users> names_;
  std::uint64_t rows_ = 0;
  bool cut_ = false;
};

}  // namespace weir
