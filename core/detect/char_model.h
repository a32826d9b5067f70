// What a label of a name costs to say, in bits, under fixed lossless codes: an order-2 model of
// letters for what people name hosts, and flat alphabets for what programs encode. Any lossless
// code gives an upper bound on the information in a label, so the cheapest of them does too.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

namespace weir {

// Costs are counted in sixteenths of a bit, so that sums stay whole numbers on every machine.
using Cost = std::uint32_t;
inline constexpr Cost kOneBit = 16;

class CharModel {
 public:
  // a-z, 0-9, '-', '_', the end of a label, anything else.
  static constexpr unsigned kSymbols = 40;

  explicit CharModel(std::string_view words);  // separated by blanks; what the model learns from
  static const CharModel& built_in();          // learnt from kCommonLabels

  // The label under the model alone: low for words, high for encoded bytes. Lower case expected.
  Cost letters(std::string_view label) const;
  // The cheapest of the model, the flat alphabets and the plain bytes, with the bits that say
  // which.
  Cost cheapest(std::string_view label) const;

 private:
  std::vector<std::uint8_t> cost_;  // kSymbols^3: the cost of a symbol after the two before it
};

// About 700 labels and words that hosts are named with, written for this model.
extern const std::string_view kCommonLabels;

// log2(n) in Cost units, rounded up; 0 for n < 2.
Cost log2_cost(std::uint32_t n);

}  // namespace weir
