// SPDX-License-Identifier: MIT
// The smallest program with a mixer on a device: forward and backward of KLA in float.
#include <kalscan/cuda/kla_backward.cuh>
#include <kalscan/cuda/kla_forward.cuh>

void both(const kalscan::mixer_shape& shape, const kalscan::kla_inputs<kalscan::tensor<const float>>& inputs,
          const kalscan::kla_outputs<kalscan::tensor<float>>& outputs,
          const kalscan::kla_outputs<kalscan::tensor<const float>>& output_adjoints,
          const kalscan::kla_inputs<kalscan::tensor<float>>& gradients) {
  kalscan::forward(kalscan::cuda{}, kalscan::kla{}, shape, inputs, outputs);
  kalscan::backward(kalscan::cuda{}, kalscan::kla{}, shape, inputs, output_adjoints, gradients);
}
