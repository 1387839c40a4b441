// SPDX-License-Identifier: MIT
// Eigen's matrices, or what to do about their absence.
#pragma once

#include <kalscan/support/config.hpp>

#if !__has_include(<Eigen/Core>)
#error "kalscan: the matrix Kalman filter needs Eigen 3.4: install it (libeigen3-dev) and add -I /usr/include/eigen3, or link kalscan::eigen in CMake"
#include <Eigen/Eigen>  // stops here: g++ goes on after an #include of what it has already looked for in vain
#endif
#include <Eigen/Core>
