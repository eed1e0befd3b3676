# How this project's targets are made.
#
#   ps_core(NAME SOURCES... [DEPS lib...])   a pure library: no I/O, no clock, no threads; checked after each build
#   ps_edge(NAME SOURCES... [DEPS lib...])   a library that may name libuv, NNG, SQLite, sockets
#   ps_test(NAME SOURCES... [DEPS lib...])   a cmocka program, registered with CTest
#   ps_fuzz(NAME SOURCES... [DEPS lib...])   a libFuzzer target (preset `fuzz`); a corpus replay test elsewhere
set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
# Assertions stay on in every build: a bug of ours must stop, not spread.
set(CMAKE_C_FLAGS_RELWITHDEBINFO "-O2 -g")
set(CMAKE_C_FLAGS_RELEASE "-O2")

add_compile_options(-Wall -Wextra -Wconversion -Wshadow -Wvla -Werror -fno-strict-aliasing -fno-omit-frame-pointer)
add_compile_definitions(_GNU_SOURCE PS_VERSION="${PROJECT_VERSION}")
include_directories(${CMAKE_SOURCE_DIR})

set(PS_SANITIZE "" CACHE STRING "Sanitizers, as in -fsanitize=")
option(PS_FUZZ "Build libFuzzer targets" OFF)
if(PS_SANITIZE)
  add_compile_options(-fsanitize=${PS_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${PS_SANITIZE})
endif()
if(PS_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

find_package(PkgConfig REQUIRED)
pkg_check_modules(UV REQUIRED IMPORTED_TARGET libuv)
pkg_check_modules(URING REQUIRED IMPORTED_TARGET liburing)
pkg_check_modules(SQLITE REQUIRED IMPORTED_TARGET sqlite3)
pkg_check_modules(LZ4 REQUIRED IMPORTED_TARGET liblz4)
pkg_check_modules(ZSTD REQUIRED IMPORTED_TARGET libzstd)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)
pkg_check_modules(CRYPTO REQUIRED IMPORTED_TARGET libcrypto)
pkg_check_modules(PROTOBUFC REQUIRED IMPORTED_TARGET libprotobuf-c)
pkg_check_modules(CJSON REQUIRED IMPORTED_TARGET libcjson)
pkg_check_modules(ISAL REQUIRED IMPORTED_TARGET libisal)
find_library(NNG_LIBRARY nng REQUIRED)
find_package(Threads REQUIRED)

function(ps_library kind name)
  cmake_parse_arguments(A "" "" "DEPS" ${ARGN})
  add_library(${name} STATIC ${A_UNPARSED_ARGUMENTS})
  target_link_libraries(${name} PUBLIC ${A_DEPS})
  if(kind STREQUAL core AND NOT PS_SANITIZE)
    add_custom_command(TARGET ${name} POST_BUILD
      COMMAND ${CMAKE_SOURCE_DIR}/tools/check-core ${CMAKE_NM} $<TARGET_FILE:${name}> VERBATIM)
  endif()
endfunction()
macro(ps_core)
  ps_library(core ${ARGV})
endmacro()
macro(ps_edge)
  ps_library(edge ${ARGV})
endmacro()

function(ps_test name)
  cmake_parse_arguments(A "" "" "DEPS" ${ARGN})
  add_executable(${name} ${A_UNPARSED_ARGUMENTS})
  target_link_libraries(${name} PRIVATE ${A_DEPS} cmocka)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES TIMEOUT 600)
endfunction()

# A fuzz target is one file with LLVMFuzzerTestOneInput. Without libFuzzer the
# corpus is replayed as an ordinary test, so that no target rots.
function(ps_fuzz name)
  cmake_parse_arguments(A "" "CORPUS" "DEPS" ${ARGN})
  if(PS_FUZZ)
    add_executable(${name} ${A_UNPARSED_ARGUMENTS})
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  else()
    add_executable(${name} ${A_UNPARSED_ARGUMENTS} ${CMAKE_SOURCE_DIR}/tests/fuzz/replay.c)
    if(A_CORPUS)
      add_test(NAME ${name} COMMAND ${name} ${A_CORPUS})
    endif()
  endif()
  target_link_libraries(${name} PRIVATE ${A_DEPS})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/fuzz)
endfunction()
