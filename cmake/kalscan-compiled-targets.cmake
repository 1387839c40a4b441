# kalscan::compiled: what does not depend on the sizes of models, compiled once for all programs that link it, which then
# compile faster. Built from source where it is linked, with the flags of that project: it must be compiled for the same
# processor (-march) as what links it.
if(CMAKE_CXX_COMPILER_LOADED AND NOT TARGET kalscan_compiled)
  add_library(kalscan_compiled STATIC EXCLUDE_FROM_ALL ${CMAKE_CURRENT_LIST_DIR}/compiled.cpp)
  add_library(kalscan::compiled ALIAS kalscan_compiled)
  target_compile_definitions(kalscan_compiled PUBLIC KALSCAN_COMPILED)
  target_link_libraries(kalscan_compiled PUBLIC kalscan::eigen)
  set_target_properties(kalscan_compiled PROPERTIES POSITION_INDEPENDENT_CODE ON)
endif()
