# Puts data/known_names.txt into a source file, so that no program opens it at run time.
set(known_names ${CMAKE_SOURCE_DIR}/data/known_names.txt)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${known_names})
file(READ ${known_names} known_names_text)
set(known_names_source ${CMAKE_BINARY_DIR}/generated/known_names_text.cpp)
file(CONFIGURE OUTPUT ${known_names_source} @ONLY CONTENT
"// Made from data/known_names.txt by cmake/known_names.cmake.
#include \"core/detect/known_names.h\"
namespace weir {
const std::string_view kKnownNamesText = R\"known_names(@known_names_text@)known_names\";
}
")
