# The macros that the host's headers leave behind: KALSCAN_HD and no other. INCLUDE, COMPILER, EIGEN.
foreach(headers IN ITEMS "-include;kalscan/kalscan.hpp;-include;kalscan/compare.hpp"
                         "-include;kalscan/kla/backward.hpp;-include;kalscan/kla/forward.hpp")
  execute_process(COMMAND ${COMPILER} -std=c++20 -I${INCLUDE} -isystem ${EIGEN} -dM -E ${headers} -x c++ /dev/null
                  RESULT_VARIABLE status OUTPUT_VARIABLE output)
  string(REGEX MATCHALL "#define [Kk][Aa][Ll][Ss][Cc][Aa][Nn]_[A-Za-z0-9_]*" macros "${output}")
  if(NOT status EQUAL 0 OR NOT macros STREQUAL "#define KALSCAN_HD")
    message(FATAL_ERROR "macros after ${headers}: ${macros}")
  endif()
endforeach()
