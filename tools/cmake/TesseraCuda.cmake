# The CUDA backend (TESSERA_CUDA=ON, preset "cuda"): nvcc from CUDACXX, the path or /usr/local/cuda. The kernels are compiled for
# one architecture, with its PTX beside them, from which the driver makes code for every later one.
if(NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
  find_program(CMAKE_CUDA_COMPILER nvcc HINTS /usr/local/cuda/bin)
endif()
if(NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
  message(FATAL_ERROR "TESSERA_CUDA is on, but nvcc was not found: install the CUDA toolkit or set CUDACXX to its nvcc")
endif()
set(CMAKE_CUDA_ARCHITECTURES 80 CACHE STRING "CUDA architectures to compile for")
set(CMAKE_CUDA_RUNTIME_LIBRARY Shared)
enable_language(CUDA)
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake 3.25 does not know nvcc's C++20
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
endif()
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(CMAKE_CUDA_EXTENSIONS OFF)
set(CMAKE_CUDA_VISIBILITY_PRESET hidden)
find_package(CUDAToolkit REQUIRED)

# tessera_add_cuda(<target> <sources>): kernels and what they need, privately; no CUDA type leaves the target.
function(tessera_add_cuda target)
  target_sources(${target} PRIVATE ${ARGN})
  target_compile_definitions(${target} PRIVATE TESSERA_WITH_CUDA)
  target_compile_options(${target} PRIVATE "$<$<COMPILE_LANGUAGE:CUDA>:--extended-lambda;-Xcompiler=-Wall,-Wextra>")
  target_link_libraries(${target} PRIVATE $<BUILD_INTERFACE:CUDA::cudart> $<BUILD_INTERFACE:CUDA::cublas>)
  set_target_properties(${target} PROPERTIES CUDA_RUNTIME_LIBRARY Shared INSTALL_RPATH_USE_LINK_PATH ON)
endfunction()
