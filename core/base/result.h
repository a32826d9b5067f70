// Failure is a value: a Result carries a T or one sentence that names the thing and what to do.
// Foreign bytes that don't parse are not an Error but a Parsed<T> with the kind of damage, counted.
#pragma once

#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

namespace weir {

struct Error {
  std::string sentence;  // for a person; names the file, field or peer
};

template <class T>
using Result = tl::expected<T, Error>;

inline tl::unexpected<Error> fail(std::string sentence) {
  return tl::unexpected<Error>(Error{std::move(sentence)});
}

// A bug is a crash: prints the expression and its place, then aborts. Never used for foreign input.
[[noreturn]] void check_failed(const char* expression, const char* file, int line);

#define WEIR_CHECK(expr) ((expr) ? void(0) : ::weir::check_failed(#expr, __FILE__, __LINE__))

}  // namespace weir
