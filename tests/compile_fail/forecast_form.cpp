// expect: a forecast is of the model, whatever form its result was filtered in
// flags: -isystem EIGEN
// lines: 25
// SPDX-License-Identifier: MIT
#include <kalscan/kalman/forecast.hpp>
#include <kalscan/kalman/square_root.hpp>

int main() {
  const kalscan::kalman_model<double, 1, 1> model;
  kalscan::forecast(kalscan::square_root{model}, kalscan::filter_result<double, 1, 1>{}, 3);
}
