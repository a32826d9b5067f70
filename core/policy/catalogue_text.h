// data/catalogue.txt as it was at build time; its definition is made by cmake/data_text.cmake.
#pragma once

#include <string_view>

namespace weir {

extern const std::string_view kCatalogueText;

}  // namespace weir
