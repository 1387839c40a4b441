// expect: needs Eigen 3.4: install it \(libeigen3-dev\)
// lines: 25
// SPDX-License-Identifier: MIT
// The compiler does not look into /usr/include/eigen3 by itself.
#include <kalscan/kalman/filter.hpp>
