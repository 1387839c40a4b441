# Whichever public header a program includes: under C++17, and a .cuh by a host compiler, all that the compiler says is
# one message, before it has met anything else of the library. INCLUDE, COMPILER.
function(expect_message header message)
  file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/first_words.cpp "#include <${header}>\n")
  execute_process(COMMAND ${COMPILER} ${ARGN} -I${INCLUDE} -E ${CMAKE_CURRENT_BINARY_DIR}/first_words.cpp
                  RESULT_VARIABLE status OUTPUT_VARIABLE text ERROR_VARIABLE output)
  string(REGEX MATCHALL "(^|\n)[^\n]*error:" errors "${output}")
  list(LENGTH errors count)
  if(status EQUAL 0 OR NOT output MATCHES "${message}" OR count GREATER 2  # the message, and where it ends
     OR (text MATCHES "namespace kalscan" AND NOT COMPILER MATCHES "clang"))  # clang++ -E goes on behind the message
    message(FATAL_ERROR "${header} does not begin with '${message}':\n${output}")
  endif()
endfunction()

include(${CMAKE_CURRENT_LIST_DIR}/public_headers.cmake)
public_headers(headers ${INCLUDE} hpp)
list(FILTER headers EXCLUDE REGEX "/compare/thrust.hpp|/ranks/mpi.hpp")  # these need Thrust and MPI, which speak first
foreach(header IN LISTS headers)
  expect_message(${header} "needs C\\+\\+20: compile with -std=c\\+\\+20" -std=c++17)
endforeach()
public_headers(headers ${INCLUDE} cuh)
foreach(header IN LISTS headers)
  expect_message(${header} "compile the file with nvcc" -std=c++20)
endforeach()
