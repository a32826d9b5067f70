# weir_data_text(NAME CONSTANT HEADER): puts data/NAME.txt into a source file, so that no program opens it at run
# time; HEADER declares the constant. Sets NAME_source to that file.
function(weir_data_text name constant header)
  set(data ${CMAKE_SOURCE_DIR}/data/${name}.txt)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${data})
  file(READ ${data} text)
  set(source ${CMAKE_BINARY_DIR}/generated/${name}_text.cpp)
  file(CONFIGURE OUTPUT ${source} @ONLY CONTENT
"// Made from data/@name@.txt by cmake/data_text.cmake.
#include \"@header@\"
namespace weir {
const std::string_view @constant@ = R\"@name@(@text@)@name@\";
}
")
  set(${name}_source ${source} PARENT_SCOPE)
endfunction()
