// SPDX-License-Identifier: MIT
// Which exceptions are CUDA's: mixers.cpp is compiled without its headers.
#include <exception>
#include <kalscan/backend/cuda.cuh>

namespace kalscan::c {

bool is_device_error(const std::exception& error);
bool is_device_error(const std::exception& error) { return dynamic_cast<const cuda_error*>(&error) != nullptr; }

}  // namespace kalscan::c
