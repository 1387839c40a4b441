# What tests, examples and benchmarks need: the system's packages first, else pinned sources.
include(FetchContent)
if(NOT TARGET OpenMP::OpenMP_CXX)
  find_package(OpenMP REQUIRED COMPONENTS CXX)
endif()

set(BUILD_TESTING OFF) # of the dependencies
FetchContent_Declare(
  Eigen3 URL https://gitlab.com/libeigen/eigen/-/archive/3.4.0/eigen-3.4.0.tar.gz
  URL_HASH SHA256=8586084f71f9bde545ee7fa6d00288b264a2b7ac3607b974e54d13e7162c1c72
  FIND_PACKAGE_ARGS 3.4 NO_MODULE)
FetchContent_MakeAvailable(Eigen3)
if(KALSCAN_BUILD_TESTS)
  FetchContent_Declare(
    doctest GIT_REPOSITORY https://github.com/doctest/doctest.git GIT_TAG v2.4.9 FIND_PACKAGE_ARGS 2.4)
  FetchContent_MakeAvailable(doctest)
endif()
if(KALSCAN_BUILD_BENCHMARKS)
  set(BENCHMARK_ENABLE_TESTING OFF)
  FetchContent_Declare(
    benchmark GIT_REPOSITORY https://github.com/google/benchmark.git GIT_TAG v1.7.1 FIND_PACKAGE_ARGS 1.7)
  FetchContent_MakeAvailable(benchmark)
  find_package(TBB QUIET)
endif()
