// Words that the explanations share: pieces of sentences in both languages. Used only by
// explain*.cpp.
#pragma once

#include <string>
#include <string_view>

#include "core/policy/explain.h"
#include "core/policy/policy.h"

namespace weir {

struct Words {
  std::string_view english;
  std::string_view chinese;
  std::string_view in(Language language) const {
    return language == Language::chinese ? chinese : english;
  }
};

std::string printable(std::string_view text);  // foreign text, cut and without control characters
std::string_view per_words(Per per, Language language);  // "person", "destination of a person" …
std::string_view per_words(std::string_view per_name, Language language);

}  // namespace weir
