// expect: on a device a model of more than 8 states, or 5 in square-root form or to smooth under
// SPDX-License-Identifier: MIT
#include <kalscan/cuda/kalman.cuh>
#include <kalscan/kalman/functions/model.hpp>

using kalscan::small_matrix, kalscan::small_symmetric;

void misuse(std::span<const float> y, const kalscan::filter_arrays<float>& filtered,
            const kalscan::smoother_arrays<float>& out) {
  const auto model = kalscan::model_of<float, 6, 1>(small_matrix<float, 6, 6>{}, small_symmetric<float, 6>{},
                                                    small_matrix<float, 1, 6>{}, small_symmetric<float, 1>{},
                                                    kalscan::all_diffuse<float, 6>());
  kalscan::smooth(kalscan::cuda{}, model, y, filtered, out);
}
