// SPDX-License-Identifier: MIT
// A mixer's calls on a GPU: enqueued in the caller's stream, on the device of its arrays, in the caller's workspace.
#pragma once

#include <kalscan/cuda/kla_backward.cuh>
#include <kalscan/cuda/kla_forward.cuh>

#include <cstddef>
#include <cstdint>

#include "mixer_call.hpp"

namespace kalscan::c {

/// The device of a call's arrays is the current one while this lives.
class on_device {
 public:
  explicit on_device(const mixer_call& call) {
    const int wanted = call.in.v->device.device_id;
    detail::require_success("cudaGetDevice", cudaGetDevice(&before_));
    if (wanted == before_) return;
    detail::require_success("cudaSetDevice", cudaSetDevice(wanted));
    changed_ = true;
  }
  on_device(const on_device&) = delete;
  on_device& operator=(const on_device&) = delete;
  ~on_device() {
    if (changed_) static_cast<void>(cudaSetDevice(before_));
  }

 private:
  int before_ = 0;
  bool changed_ = false;
};

template <class M, class E, class T>
struct device_mixer {
  using typed = typed_call<M, E, T>;

  static cuda_for<all_mixer_kernels> policy(const mixer_call& call) {
    return {{static_cast<cudaStream_t>(call.run.stream),
             {static_cast<std::byte*>(call.run.workspace), call.run.workspace_bytes},
             call.run.chunk}};
  }
  static nan_check check(const mixer_call& call) { return call.run.check_nan != 0 ? nan_check::on : nan_check::off; }

  static void forward(const mixer_call& call) {
    const on_device device(call);
    const typed x(call);
    kalscan::forward(policy(call), M{}, x.shape, x.in, x.outputs(call), x.states(call), check(call));
  }
  static void step(const mixer_call& call) {
    const on_device device(call);
    const typed x(call);
    kalscan::step(policy(call), M{}, x.shape, x.in, x.outputs(call), x.states(call).final);
  }
  static void backward(const mixer_call& call) {
    const on_device device(call);
    const typed x(call);
    kalscan::backward(policy(call), M{}, x.shape, x.in, x.outputs_bar(call), x.inputs_bar(call), x.adjoints(call),
                      check(call));
  }
  static std::size_t forward_bytes(const mixer_call& call) {
    return forward_workspace<T>(policy(call), M{}, typed(call).shape);
  }
  static std::size_t backward_bytes(const mixer_call& call) {
    const typed x(call);
    return backward_workspace(policy(call), M{}, x.shape, x.in, x.adjoints(call));
  }
  static std::int64_t checkpoints(const mixer_call& call) {
    return kalscan::backward_checkpoints<T>(M{}, typed(call).shape);
  }

  static constexpr mixer_functions functions{forward, step, backward, forward_bytes, backward_bytes, checkpoints};
};

}  // namespace kalscan::c
