// expect: on a device a model of more than 8 states, or 5 in square-root form or to smooth under
// SPDX-License-Identifier: MIT
#include <kalscan/cuda/kalman.cuh>
#include <kalscan/kalman/functions/model.hpp>

using kalscan::small_matrix, kalscan::small_symmetric;

void misuse(std::span<const float> y, std::span<float> sum) {
  const auto model = kalscan::model_of<float, 9, 1>(small_matrix<float, 9, 9>{}, small_symmetric<float, 9>{},
                                                    small_matrix<float, 1, 9>{}, small_symmetric<float, 1>{},
                                                    kalscan::small_belief<float, 9>{});
  kalscan::log_likelihood(kalscan::cuda{}, model, y, sum);
}
