// expect: on a device a model of more than 8 states, or 5 in square-root form or to smooth under
// SPDX-License-Identifier: MIT
#include <kalscan/cuda/kalman.cuh>
#include <kalscan/kalman/functions/model.hpp>
#include <kalscan/kalman/functions/square_root.hpp>

using kalscan::small_matrix, kalscan::small_symmetric;

void misuse(std::span<const float> y, std::span<float> sum) {
  const kalscan::square_root model{kalscan::model_of<float, 6, 1>(
      small_matrix<float, 6, 6>{}, small_symmetric<float, 6>{}, small_matrix<float, 1, 6>{},
      small_symmetric<float, 1>{}, kalscan::small_belief<float, 6>{})};
  kalscan::log_likelihood(kalscan::cuda{}, model, y, sum);
}
