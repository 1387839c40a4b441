// SPDX-License-Identifier: MIT
// Any model of up to 8 states and 4 components, filtered and smoothed as a model of functions, as a device does it.
#pragma once

#include <cstdint>
#include <kalscan/kalman/series/filter_traversal.hpp>
#include <kalscan/kalman/small/observe.hpp>
#include <kalscan/kalscan.hpp>

namespace by_functions {

using model_type = kalscan::kalman_model<double, Eigen::Dynamic, Eigen::Dynamic>;
using series_type = kalscan::observations<double, Eigen::Dynamic>;
using result_type = kalscan::smoother_result<double, Eigen::Dynamic, Eigen::Dynamic>;

constexpr int most_states = 8, most_components = 4;

struct outcome {
  result_type smoothed{};  ///< with predictions; the log-likelihood is that of all steps, without terms
  kalscan::step_failure filter_failure{}, smoother_failure{};
  bool same_in_place{};  ///< whether smoothing in place left the same numbers
};

/// In chunks of so many steps, three to a block, of which those that start in the beginning are filtered, and those that
/// are smoothed by equations begin up to `window` steps later. The prior must not have directions that are no
/// components.
[[nodiscard]] outcome smooth(const model_type& model, const series_type& y, std::int64_t chunk,
                             std::int64_t beginning = kalscan::detail::steps_from_start,
                             std::int64_t window = kalscan::detail::steps_from_start);

/// A model of up to 4 states and one component, the same in numbers of type float.
[[nodiscard]] outcome smooth_in_float(const model_type& model, const series_type& y, std::int64_t chunk);

/// Whether some component is without noise at some step.
[[nodiscard]] inline bool reads_exactly(const model_type& model) {
  for (std::int64_t t = 0; t < model.R.size(); ++t) {
    if ((model.R[t].diagonal().array() == 0).any()) return true;
  }
  return false;
}

}  // namespace by_functions
