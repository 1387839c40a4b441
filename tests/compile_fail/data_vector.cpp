// expect: y is a matrix, m x length, a column a step: give an Eigen matrix
// flags: -isystem EIGEN
// lines: 25
// SPDX-License-Identifier: MIT
#include <kalscan/backend/seq.hpp>
#include <kalscan/kalman/smoother.hpp>
#include <vector>

int main() {
  const kalscan::kalman_model<double, Eigen::Dynamic, Eigen::Dynamic> model;
  kalscan::smooth(kalscan::seq{}, model, std::vector<double>{1, 2, 3});
}
