# Enables CUDA where nvcc is found: sets KALSCAN_HAS_CUDA. A macro, because a language belongs to the directory that asks.
include(CheckLanguage)
option(KALSCAN_QUICK_CUDA "Compile CUDA tests in a tenth of the time, and benchmarks only to see that they compile" OFF)

# For targets whose code need not be fast. The flag is nvcc 13's.
function(kalscan_compile_quickly target)
  if(KALSCAN_QUICK_CUDA AND CMAKE_CUDA_COMPILER_VERSION VERSION_GREATER_EQUAL 13)
    target_compile_options(${target} PRIVATE --Ofast-compile=max)
    target_compile_definitions(${target} PRIVATE KALSCAN_QUICK_CUDA)
  endif()
endfunction()

macro(kalscan_enable_cuda)
  check_language(CUDA)
  set(KALSCAN_HAS_CUDA OFF)
  if(CMAKE_CUDA_COMPILER)
    if(NOT CMAKE_CUDA_ARCHITECTURES)
      set(CMAKE_CUDA_ARCHITECTURES 90)
    endif()
    enable_language(CUDA)
    # CMake 3.25 does not know that nvcc 13 speaks C++20.
    if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
      set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
      set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
    endif()
    set(CMAKE_CUDA_STANDARD 20)
    set(KALSCAN_HAS_CUDA ON)
  endif()
endmacro()
