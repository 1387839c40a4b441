// expect: y is a matrix, m x length, a column a step: give an Eigen matrix
// flags: -isystem EIGEN
// lines: 25
// SPDX-License-Identifier: MIT
#include <kalscan/backend/seq.hpp>
#include <kalscan/kalman/filter.hpp>

int main() {
  const kalscan::kalman_model<double, Eigen::Dynamic, Eigen::Dynamic> model;
  const double y[3] = {1, 2, 3};
  kalscan::filter(kalscan::seq{}, model, &y[0]);
}
