# What tests, examples and benchmarks need: the system's packages first, else pinned sources.
option(KALSCAN_FETCH_DEPENDENCIES "Download Eigen, doctest and Google Benchmark where they are not found" ON)
include(FetchContent)

if(NOT TARGET OpenMP::OpenMP_CXX)  # looked for again, it would lose the options that others put on it
  find_package(OpenMP REQUIRED COMPONENTS CXX)
endif()

set(BUILD_TESTING OFF) # of the dependencies
FetchContent_Declare(
  Eigen3 URL https://gitlab.com/libeigen/eigen/-/archive/3.4.0/eigen-3.4.0.tar.gz
  URL_HASH SHA256=8586084f71f9bde545ee7fa6d00288b264a2b7ac3607b974e54d13e7162c1c72
  FIND_PACKAGE_ARGS 3.4 NO_MODULE)
FetchContent_Declare(
  doctest GIT_REPOSITORY https://github.com/doctest/doctest.git GIT_TAG v2.4.9 FIND_PACKAGE_ARGS 2.4)
set(BENCHMARK_ENABLE_TESTING OFF)
FetchContent_Declare(
  benchmark GIT_REPOSITORY https://github.com/google/benchmark.git GIT_TAG v1.7.1 FIND_PACKAGE_ARGS 1.7)

set(needed Eigen3)
if(KALSCAN_BUILD_TESTS)
  list(APPEND needed doctest)
endif()
if(KALSCAN_BUILD_BENCHMARKS)
  list(APPEND needed benchmark)
endif()
if(KALSCAN_FETCH_DEPENDENCIES)
  FetchContent_MakeAvailable(${needed})
else()
  find_package(Eigen3 3.4 QUIET NO_MODULE)
  find_package(doctest 2.4 QUIET)
  find_package(benchmark 1.7 QUIET)
  set(missing ${needed})
  foreach(package IN LISTS needed)
    if(${package}_FOUND)
      list(REMOVE_ITEM missing ${package})
    endif()
  endforeach()
  if(missing)
    list(JOIN missing " " missing)
    message(FATAL_ERROR "not found: ${missing} (looked in CMAKE_PREFIX_PATH)")
  endif()
endif()
if(KALSCAN_BUILD_BENCHMARKS)
  find_package(TBB QUIET)
endif()
