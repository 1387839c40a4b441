// expect: the prior of square_root{model} is proper
// expect: a forecast is of the model, whatever form its result was filtered in
// lines: 60
// SPDX-License-Identifier: MIT
#include <kalscan/backend/seq.hpp>
#include <kalscan/kalman/function_filter.hpp>

template <class Prior>
auto with_prior(const Prior& prior) {
  using one = kalscan::small_matrix<double, 1, 1>;
  using variance = kalscan::small_symmetric<double, 1>;
  return kalscan::model_of<double, 1, 1>(one{{1}}, variance{{1}}, one{{1}}, variance{{1}}, prior);
}

int main() {
  const kalscan::square_root improper{with_prior(kalscan::all_diffuse<double, 1>())};
  const kalscan::square_root form{with_prior(kalscan::small_belief<double, 1>{{{0}}, {{1}}})};
  kalscan::forecast(kalscan::seq{}, form, kalscan::series_layout{.longest = 3}, 1, {}, {});
}
