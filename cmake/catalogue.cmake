# Puts data/catalogue.txt into a source file, so that no program opens it at run time.
set(catalogue ${CMAKE_SOURCE_DIR}/data/catalogue.txt)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${catalogue})
file(READ ${catalogue} catalogue_text)
set(catalogue_source ${CMAKE_BINARY_DIR}/generated/catalogue_text.cpp)
file(CONFIGURE OUTPUT ${catalogue_source} @ONLY CONTENT
"// Made from data/catalogue.txt by cmake/catalogue.cmake.
#include \"core/policy/catalogue_text.h\"
namespace weir {
const std::string_view kCatalogueText = R\"catalogue(@catalogue_text@)catalogue\";
}
")
