// SPDX-License-Identifier: MIT
// In place of device.cu, where CUDA is off.
#include <memory>

#include "../workloads.hpp"
#include "device_mixers.hpp"
#include "suite.hpp"

namespace bench {

constexpr const char* why = "built without CUDA";

template <class M>
std::vector<kalscan::back_end<M>> device_back_ends(const M&) {
  return {kalscan::absent_back_end<M>("cuda", why)};
}
template std::vector<kalscan::back_end<kalscan::affine_monoid<float>>> device_back_ends(
    const kalscan::affine_monoid<float>&);
template std::vector<kalscan::back_end<kalscan::filtering_monoid<float>>> device_back_ends(
    const kalscan::filtering_monoid<float>&);
template std::vector<kalscan::back_end<kalscan::matrix_filtering_monoid<float, 4>>> device_back_ends(
    const kalscan::matrix_filtering_monoid<float, 4>&);

std::vector<ceiling> device_ceilings() { return {}; }

std::vector<kalscan::compare_candidate> device_mixer_calls(mixer_call, const std::shared_ptr<arrays<float>>&,
                                                           std::span<float>, const std::vector<std::int64_t>&) {
  return {{"cuda", []() -> kalscan::compare_run { throw kalscan::back_end_absent(why); }}};
}

}  // namespace bench
