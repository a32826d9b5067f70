# The build's few rules: sanitizers, warnings, hardening, and three functions (library, program, test).
option(WEIR_FUZZ "build the libFuzzer targets instead of the tests" OFF)
option(WEIR_TESTS "build the tests" ON)
set(WEIR_SANITIZE "" CACHE STRING "comma-separated list for -fsanitize=, e.g. address,undefined")

find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_C_COMPILER_LAUNCHER ${CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
endif()
find_program(MOLD mold)
if(MOLD)
  add_link_options(-fuse-ld=mold)
endif()

find_package(PkgConfig REQUIRED)
find_package(fmt REQUIRED)
find_package(Protobuf REQUIRED)
pkg_check_modules(PCAP REQUIRED IMPORTED_TARGET libpcap)
pkg_check_modules(BPF REQUIRED IMPORTED_TARGET libbpf)
pkg_check_modules(PSL REQUIRED IMPORTED_TARGET libpsl)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)
pkg_check_modules(SECCOMP REQUIRED IMPORTED_TARGET libseccomp)
pkg_check_modules(ZSTD REQUIRED IMPORTED_TARGET libzstd)
find_package(ZLIB REQUIRED)
find_package(yaml-cpp REQUIRED)
find_package(CLI11 REQUIRED)
find_package(Boost 1.81 REQUIRED) # headers of Asio and Beast
find_package(gRPC CONFIG REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(SQLite3 REQUIRED)
pkg_check_modules(SODIUM REQUIRED IMPORTED_TARGET libsodium)

add_compile_options(-ffile-prefix-map=${CMAKE_SOURCE_DIR}/=)
add_compile_definitions($<$<COMPILE_LANGUAGE:CXX>:_GLIBCXX_ASSERTIONS>)
if(WEIR_SANITIZE)
  # Line tables are all that a sanitizer's report reads; types and variables cost a tenth of the build.
  add_compile_options(-fsanitize=${WEIR_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=undefined
    -gline-tables-only)
  add_link_options(-fsanitize=${WEIR_SANITIZE})
else()
  add_compile_options(-fstack-protector-strong -fstack-clash-protection
    $<$<CONFIG:Release,RelWithDebInfo>:-D_FORTIFY_SOURCE=2>)
  add_link_options(-pie -Wl,-z,relro,-z,now,-z,noexecstack)
endif()
if(WEIR_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

add_library(weir_flags INTERFACE)
target_compile_options(weir_flags INTERFACE -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Wold-style-cast)
target_include_directories(weir_flags INTERFACE ${CMAKE_SOURCE_DIR})

# weir_library(NAME [DEPS …]): every .cpp of this folder and those below it that have no CMakeLists.txt of their own.
function(weir_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  if(NOT ARG_SOURCES)
    file(GLOB ARG_SOURCES CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
  endif()
  add_library(${name} STATIC ${ARG_SOURCES})
  target_link_libraries(${name} PUBLIC weir_flags ${ARG_DEPS})
endfunction()

# weir_program(NAME SOURCES … DEPS …) → build/<preset>/bin/NAME
function(weir_program name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE weir_flags ${ARG_DEPS})
endfunction()

# weir_cold(NAME …): a sanitized build doesn't optimise these. Half of its time went into optimising checks in what
# headers of libraries bring into each file; that buys nothing where little is computed: tests, command lines, doors.
function(weir_cold)
  if(WEIR_SANITIZE AND NOT WEIR_FUZZ)
    foreach(name ${ARGN})
      target_compile_options(${name} PRIVATE -O0)
    endforeach()
  endif()
endfunction()

# weir_static(NAME): what ships of it needs no library of the host, so that it runs on systems older than the one it was
# built on. Not for programs that look up users or host names: glibc loads libraries for that.
option(WEIR_STATIC "link guard and engine statically where nothing is sanitized" ON)
function(weir_static name)
  if(WEIR_SANITIZE OR NOT WEIR_STATIC)
    return()
  endif()
  target_sources(${name} PRIVATE ${CMAKE_SOURCE_DIR}/platform/linux/fmt_static.cpp)
  set_target_properties(${name} PROPERTIES
    RULE_LAUNCH_LINK "${CMAKE_SOURCE_DIR}/cmake/static_link idn2,unistring,elf,z"
    LINK_DEPENDS ${CMAKE_SOURCE_DIR}/cmake/static_link)
endfunction()

# weir_tests(FOLDER LABEL … [WAITS] [TIMEOUT …] [COST …] DEPS …): one executable for tests/FOLDER/*_test.cpp; a test's
# CTest name is its path with dots. PROCESSORS are halves (`make test` gives two for each that the machine has): a test
# that computes takes a whole one, one that WAITS for others or for time a half. COST: about the seconds of the longest
# one; the largest start first, so that the short ones fill the end.
include(GoogleTest)
find_package(GTest REQUIRED)
add_custom_target(unit_tests) # all with that label: `make tsan` builds nothing else
function(weir_tests folder)
  cmake_parse_arguments(ARG "WAITS" "LABEL;TIMEOUT;COST" "DEPS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/${folder}/*_test.cpp)
  if(NOT sources)
    return()
  endif()
  string(REPLACE "/" "." dotted ${folder})
  string(REPLACE "/" "_" target test_${folder})
  add_executable(${target} ${sources})
  target_link_libraries(${target} PRIVATE weir_flags ${ARG_DEPS} GTest::gtest_main GTest::gmock)
  weir_cold(${target})
  if(ARG_LABEL STREQUAL unit)
    add_dependencies(unit_tests ${target})
  endif()
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  if(NOT ARG_COST)
    set(ARG_COST 0) # what the last run took
  endif()
  set(halves 2)
  if(ARG_WAITS)
    set(halves 1)
  endif()
  gtest_discover_tests(${target} TEST_PREFIX ${dotted}. DISCOVERY_TIMEOUT 60
    PROPERTIES LABELS ${ARG_LABEL} TIMEOUT ${ARG_TIMEOUT} PROCESSORS ${halves} COST ${ARG_COST})
endfunction()
