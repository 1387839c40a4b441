// expect: needs Eigen 3.4: install it \(libeigen3-dev\)
// lines: 25
// SPDX-License-Identifier: MIT
#include <kalscan/kalscan.hpp>

int main() {
  const kalscan::kalman_model<double, 1, 1> level{1, 1469.1, 1, 15099.0};
}
