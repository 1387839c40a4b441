// expect: deleted
// flags: -isystem EIGEN
// lines: 25
// SPDX-License-Identifier: MIT
#include <kalscan/kalman/square_root.hpp>

int main() {
  const kalscan::square_root form{kalscan::kalman_model<double, 1, 1>{}};
  return form.one_each ? 1 : 0;
}
