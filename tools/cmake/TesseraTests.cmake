# The address sanitizer watches the libraries and plugins; with it in the tests too they take twice as long to compile. (The thread sanitizer
# must see all code.)
set(tests_unwatched)
if(TESSERA_SANITIZE MATCHES address)
  set(tests_unwatched -fno-sanitize=all)
endif()

add_custom_target(tessera_unit_tests)  # every test program and every plugin, without the command line
if(TESSERA_TESTS)
  enable_testing()
  find_package(GTest REQUIRED)
  include(GoogleTest)
  # GoogleTest and the standard library are half of what the compiler reads of a test, so they are read once for all of them (a third of the
  # time of a whole build's tests). Programs are -fPIE, hence the header too.
  file(GENERATE OUTPUT ${PROJECT_BINARY_DIR}/tessera_tests_pch.cpp CONTENT "")
  add_library(tessera_tests_pch OBJECT ${PROJECT_BINARY_DIR}/tessera_tests_pch.cpp)
  target_link_libraries(tessera_tests_pch PRIVATE tessera_settings GTest::gtest)
  set_target_properties(tessera_tests_pch PROPERTIES POSITION_INDEPENDENT_CODE OFF)
  target_compile_options(tessera_tests_pch PRIVATE -fPIE ${tests_unwatched})
  target_precompile_headers(tessera_tests_pch PRIVATE <algorithm> <cmath> <cstdint> <cstring> <filesystem> <fstream> <functional> <limits> <map>
    <memory> <numeric> <set> <span> <sstream> <string> <vector> <gtest/gtest.h>)
endif()

# tessera_add_tests(<name> SOURCES <files> LINK <libraries> [LABELS <labels>])
# One GoogleTest program. Suites whose name ends in Grad carry the label grad, suites that end in Gpu the label gpu.
function(tessera_add_tests name)
  cmake_parse_arguments(arg "" "" "SOURCES;LINK;LABELS" ${ARGN})
  if(NOT TESSERA_TESTS OR NOT arg_SOURCES)
    return()
  endif()
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE ${arg_LINK} tessera_settings GTest::gtest GTest::gtest_main)
  add_dependencies(tessera_unit_tests ${name})
  target_compile_options(${name} PRIVATE ${tests_unwatched})
  target_precompile_headers(${name} REUSE_FROM tessera_tests_pch)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
  target_compile_definitions(${name} PRIVATE TESSERA_SOURCE_DIR="${PROJECT_SOURCE_DIR}" TESSERA_BINARY_DIR="${PROJECT_BINARY_DIR}")
  if(NOT arg_LABELS)
    set(arg_LABELS unit)
  endif()
  gtest_discover_tests(${name} TEST_FILTER "-*Grad.*:*Gpu.*" DISCOVERY_MODE PRE_TEST PROPERTIES LABELS "${arg_LABELS}")
  gtest_discover_tests(${name} TEST_FILTER "*Grad.*" DISCOVERY_MODE PRE_TEST PROPERTIES LABELS "${arg_LABELS};grad" TEST_LIST ${name}_grad)
  gtest_discover_tests(${name} TEST_FILTER "*Gpu.*" DISCOVERY_MODE PRE_TEST PROPERTIES LABELS "gpu" TEST_LIST ${name}_gpu)
endfunction()
