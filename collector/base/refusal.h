// Why a call was not answered: a kind that the wire has a code for, and a sentence for the caller.
#pragma once

#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace weir {

struct Refusal {
  enum class Kind : std::uint8_t {
    invalid,  // the request itself
    denied,   // this caller, or this proof
    not_found,
    conflict,     // the state that things are in
    full,         // a limit
    not_built,    // this version can't
    unavailable,  // later perhaps: the disk, say
  };
  Kind kind = Kind::invalid;
  std::string sentence;
};

template <class T>
using Reply = tl::expected<T, Refusal>;

inline tl::unexpected<Refusal> refuse(Refusal::Kind kind, std::string sentence) {
  return tl::unexpected<Refusal>(Refusal{kind, std::move(sentence)});
}

}  // namespace weir
