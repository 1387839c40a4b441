// expect: F, Q, H, R, B and D are matrices, of 1 x 1 too: give
// flags: -isystem EIGEN
// lines: 25
// SPDX-License-Identifier: MIT
#include <kalscan/kalman/model/model.hpp>

int main() {
  kalscan::kalman_model<double, 1, 1> model;
  model.R = 1.0;
}
