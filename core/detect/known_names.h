// Grammars of names that honest programs make by the hundred: pairs of a zone and what a name below
// it looks like, with how many bytes of them a day are believed. Read from data/known_names.txt.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/base/result.h"
#include "core/detect/dns_labels.h"

namespace weir {

class KnownNames {
 public:
  static Result<KnownNames> parse(std::string_view text);  // errors name the line
  static const KnownNames& built_in();

  // Bytes of new names in 24 hours that are believed below `zone` if a name of these labels (those
  // below the zone, lower case) asked for with `type` fits a grammar; 0 if it does not.
  std::uint32_t believed(std::string_view zone, Labels labels, std::uint16_t type) const;

 private:
  struct Piece {  // of a label: a literal character, or `min` to `max` of a class
    char literal = 0;
    bool (*holds)(char) = nullptr;
    std::size_t min = 0, max = 0;
  };
  using Label = std::vector<Piece>;
  struct Grammar {
    std::vector<std::uint16_t> types;
    std::uint32_t bytes = 0;
    bool hostname = false;            // labels before the fixed ones are a host name
    std::size_t least = 0, most = 0;  // how many labels stand before the fixed ones
    std::vector<Label> fixed;
  };
  static Result<Grammar> parse_pattern(std::string_view pattern);
  static bool parse_label(std::string_view text, Label& label);
  static bool fits(const Label& label, std::size_t piece, std::string_view text);
  static bool fits(const Grammar& grammar, Labels labels);

  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view s) const { return std::hash<std::string_view>{}(s); }
  };
  std::unordered_map<std::string, std::vector<Grammar>, Hash, std::equal_to<>> zones_;
};

extern const std::string_view kKnownNamesText;  // made at build time, see cmake/data_text.cmake

}  // namespace weir
