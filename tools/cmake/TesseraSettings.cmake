# Options, warnings and flags of the whole tree.
option(TESSERA_TESTS "build the tests" ON)
option(TESSERA_BENCHMARKS "build the benchmarks (Google Benchmark)" OFF)
option(TESSERA_CUDA "build the CUDA backend" OFF)
option(TESSERA_NATIVE "compile for the processor of this machine" ON)
option(TESSERA_WERROR "warnings are errors" OFF)
set(TESSERA_SANITIZE "" CACHE STRING "sanitizers: address,undefined or thread")

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()
include(GNUInstallDirs)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/lib)
set(TESSERA_PLUGIN_DIR lib/tessera/plugins)  # beside the program, where the loader looks, whatever the library folder is called
set(CMAKE_INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR}")

find_package(Threads REQUIRED)

# g++ 12 warns of overlap in its own std::string operator+ (GCC bug 105651), hence no -Wrestrict there.
add_library(tessera_settings INTERFACE)
# Plugins are built with these too, so they hold no build-machine path and no private option.
set(flags -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion -Wnon-virtual-dtor
  $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>
  $<$<BOOL:${TESSERA_WERROR}>:-Werror> $<$<BOOL:${TESSERA_NATIVE}>:-march=native>)
target_compile_options(tessera_settings INTERFACE "$<$<COMPILE_LANGUAGE:CXX>:${flags}>")
if(TESSERA_SANITIZE)
  add_compile_options(-fsanitize=${TESSERA_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  # Half of the time to compile goes into these checks of every access, most of which the address sanitizer sees too.
  add_compile_options(-fno-sanitize=null,object-size,alignment,vptr)
  add_link_options(-fsanitize=${TESSERA_SANITIZE})
endif()
