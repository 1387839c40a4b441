# NVIDIA's NCCL: the target NCCL::NCCL. Looks in NCCL_ROOT (a variable or of the environment), in the usual places, and
# in the Python package nvidia-nccl, which PyTorch brings, of the python3 that is found.
find_path(NCCL_INCLUDE_DIR nccl.h HINTS ${NCCL_ROOT} $ENV{NCCL_ROOT} PATH_SUFFIXES include)
if(NOT NCCL_INCLUDE_DIR)
  find_program(NCCL_PYTHON NAMES python3)
  mark_as_advanced(NCCL_PYTHON)
  if(NCCL_PYTHON)
    execute_process(
      COMMAND ${NCCL_PYTHON} -c "import nvidia.nccl as n; print(list(n.__path__)[0])"
      OUTPUT_VARIABLE nccl_package OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
    if(nccl_package)
      find_path(NCCL_INCLUDE_DIR nccl.h PATHS ${nccl_package}/include NO_DEFAULT_PATH)
    endif()
  endif()
endif()
if(NCCL_INCLUDE_DIR)
  # The package has no libnccl.so, and its library belongs to its header.
  find_library(NCCL_LIBRARY NAMES nccl libnccl.so.2 HINTS ${NCCL_INCLUDE_DIR}/.. PATH_SUFFIXES lib lib64)
endif()
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(NCCL REQUIRED_VARS NCCL_LIBRARY NCCL_INCLUDE_DIR)
mark_as_advanced(NCCL_INCLUDE_DIR NCCL_LIBRARY)
if(NCCL_FOUND AND NOT TARGET NCCL::NCCL)
  add_library(NCCL::NCCL UNKNOWN IMPORTED)
  set_target_properties(NCCL::NCCL PROPERTIES IMPORTED_LOCATION ${NCCL_LIBRARY}
                                              INTERFACE_INCLUDE_DIRECTORIES ${NCCL_INCLUDE_DIR})
endif()
