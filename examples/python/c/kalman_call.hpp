// SPDX-License-Identifier: MIT
// A call of the matrix filter as C gives it.
#pragma once

#include "arrays.hpp"
#include "kalscan.h"

namespace kalscan::c {

struct kalman_call {
  const kalscan_model& model;
  const DLTensor& y;
  const DLTensor* offsets;
  kalscan_filtered filtered;
  kalscan_beliefs smoothed;
  kalscan_run run;
};

/// The calls for one number type.
struct kalman_functions {
  void (*filter)(const kalman_call&);
  void (*log_likelihood)(const kalman_call&);
  void (*smooth)(const kalman_call&);
};
extern const kalman_functions kalman_double, kalman_float;

}  // namespace kalscan::c
