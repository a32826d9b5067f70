// Places that a policy calls known: registrable domains in one text, sorted, which is searched as
// it is, so that fifty thousand of them are one piece of memory. Pure. Thread: any.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"

namespace weir {

// Of such a text: some 50,000 names. A compiled policy has at most 1 MiB, and every host gets it.
inline constexpr std::size_t kMaxKnownBytes = 768 * 1024;
inline constexpr std::size_t kMaxListBytes =
    2 * 1024 * 1024;                         // of a list's file, comments included
inline constexpr std::size_t kMaxLists = 8;  // files that a policy may name

// Sorted, each once, a line end after each. What nobody can register is left out: a suffix (co.uk,
// github.io), a name below a domain.
std::string known_text(std::vector<std::string> domains);
bool is_known_text(std::string_view text);  // one that known_text() could have made
std::size_t known_count(std::string_view text);

// Whether what the owner of `host` registered stands there. Of a provider's customers each is their
// own: `github.io` there says nothing about NAME.github.io.
bool is_known_host(std::string_view text, std::string_view host);

// A list's file: a domain a line, "#" begins a comment, empty lines. The sentence begins with
// "NAME:LINE:".
Result<std::vector<std::string>> read_known_list(std::string_view file, std::string_view name);

}  // namespace weir
