// SPDX-License-Identifier: MIT
// The mixers on a device, beside those on the host: in device.cu, or in no_device.cpp a row that says why not.
#pragma once

#include <cstdint>
#include <kalscan/compare/calls.hpp>
#include <memory>
#include <span>
#include <vector>

#include "../kla_arrays.hpp"

namespace bench {

enum class mixer_call { kla_forward, kla_backward, gla_forward };

/// One candidate for each chunk of time (0: the library's choice; the whole length: whole lanes). Each copies x to the
/// device when it is prepared, and its results to `out`, part after part as the host's.
std::vector<kalscan::compare_candidate> device_mixer_calls(mixer_call which, const std::shared_ptr<arrays<float>>& x,
                                                           std::span<float> out,
                                                           const std::vector<std::int64_t>& chunks);

}  // namespace bench
