// SPDX-License-Identifier: MIT
// What all functions of the interface do: exceptions become a status and a message.
#pragma once

#include <exception>
#include <new>
#include <stdexcept>
#include <string>

#include "arrays.hpp"
#include "kalscan.h"

namespace kalscan::c {

/// A step of a matrix filter that could not be computed: kalscan::filter_error, whose header includes Eigen.
struct failed_step : std::runtime_error {
  using std::runtime_error::runtime_error;
};

inline thread_local std::string last_error;

inline kalscan_status failed(kalscan_status status, const char* message) {
  last_error = message;
  return status;
}

#if defined(KALSCAN_C_DEVICE)
/// Whether the exception that is being handled is one of CUDA's; it is known where nvcc compiles.
bool is_device_error(const std::exception& error);
#else
inline bool is_device_error(const std::exception&) { return false; }
#endif

template <class F>
int guarded(F f) noexcept {
  try {
    f();
    return KALSCAN_OK;
  } catch (const not_built& error) {
    return failed(KALSCAN_NOT_BUILT, error.what());
  } catch (const std::invalid_argument& error) {
    return failed(KALSCAN_INVALID_ARGUMENT, error.what());
  } catch (const failed_step& error) {
    return failed(KALSCAN_FILTER_ERROR, error.what());
  } catch (const std::bad_alloc&) {
    return failed(KALSCAN_OUT_OF_MEMORY, "kalscan: out of memory");
  } catch (const std::length_error&) {
    return failed(KALSCAN_OUT_OF_MEMORY, "kalscan: out of memory");
  } catch (const std::exception& error) {
    return failed(is_device_error(error) ? KALSCAN_DEVICE_ERROR : KALSCAN_ERROR, error.what());
  } catch (...) {
    return failed(KALSCAN_ERROR, "kalscan: an unknown exception");
  }
}

inline kalscan_run given_or_none(const kalscan_run* run) { return run == nullptr ? kalscan_run{} : *run; }

}  // namespace kalscan::c
