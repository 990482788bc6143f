# What every target of this project is compiled with, in one place.

add_library(kith_compile_options INTERFACE)
# A product and a sum fused in one instantiation and not in another would break bit-identical rows,
# so fusing is left to explicit MulAdd.
target_compile_options(kith_compile_options INTERFACE
    -Wall -Wextra -Wconversion -Wshadow -ffp-contract=off
    $<$<BOOL:${KITH_WARNINGS_AS_ERRORS}>:-Werror>)
# GCC 12 takes the end of an inlined vector for the pointer that is freed.
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  target_compile_options(kith_compile_options INTERFACE -Wno-free-nonheap-object)
endif()
if(KITH_SANITIZE)
  target_compile_options(kith_compile_options INTERFACE
      -fsanitize=${KITH_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all -O1)
  target_link_options(kith_compile_options INTERFACE -fsanitize=${KITH_SANITIZE})
endif()
# The library has to report coverage too, or the fuzzers would search blindly.
if(KITH_BUILD_FUZZERS)
  target_compile_options(kith_compile_options INTERFACE -fsanitize=fuzzer-no-link)
endif()

# kith_test(NAME SOURCES...): one GoogleTest program; every test in it is a ctest test.
function(kith_test name)
  add_executable(${name} ${ARGN})
  target_link_libraries(${name} PRIVATE kith::kith kith_compile_options GTest::gtest_main)
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/tests)
  # Tests are read by the compiler more often than they run.
  target_compile_options(${name} PRIVATE $<$<NOT:$<CONFIG:Debug>>:-O1>)
  target_compile_definitions(${name} PRIVATE KITH_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  gtest_discover_tests(${name} DISCOVERY_TIMEOUT 60 PROPERTIES TIMEOUT 600)
endfunction()

# kith_fuzzer(NAME SOURCES...): a libFuzzer program in the `fuzzers` target; only where KITH_BUILD_FUZZERS is on.
# `./run fuzz` starts it from the inputs in a folder NAME.seeds beside its source, where there is one.
function(kith_fuzzer name)
  if(NOT KITH_BUILD_FUZZERS)
    return()
  endif()
  add_executable(${name} EXCLUDE_FROM_ALL ${ARGN})
  target_link_libraries(${name} PRIVATE kith::kith kith_compile_options)
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/src)
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/fuzzers)
  if(NOT TARGET fuzzers)
    add_custom_target(fuzzers)
  endif()
  add_dependencies(fuzzers ${name})
endfunction()
