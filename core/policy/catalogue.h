// The destination catalogue: which names and ranges belong to which service, and which of them take
// uploads. Read from data/catalogue.txt, which is compiled in; matched on label boundaries.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "core/policy/policy.h"

namespace weir {

class Catalogue {
 public:
  static Result<Catalogue> parse(std::string_view text);  // errors name the line
  static const Catalogue& built_in();

  // Longest match; `takes_uploads` is set if the host is one of the service's upload hosts.
  const Service* find_name(std::string_view host, bool* takes_uploads = nullptr) const;
  const Service* find_address(const IpAddress& address) const;
  const Service* find_id(std::string_view id) const;
  const std::vector<Service>& services() const;
  const std::vector<std::string>& categories() const;  // sorted, each once

  Catalogue(Catalogue&&) noexcept;
  Catalogue& operator=(Catalogue&&) noexcept;
  ~Catalogue();

 private:
  struct State;
  explicit Catalogue(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace weir
