// expect: elements, states and inputs on a device are trivially copyable: keep numbers
// expect: elements, states and inputs on a device are default-initializable: give them a constructor
// expect: elements, states and inputs on a device have at most 256 bytes: use float
// expect: operators on a device are trivially copyable: keep numbers
// expect: filter, smooth and log_likelihood run on the host: pass kalscan::seq
// expect: operator std::span.*deleted
// SPDX-License-Identifier: MIT
#include <kalscan/cuda/device.cuh>
#include <kalscan/kalman/model/misuse.hpp>
#include <string>

template <class T>
struct first {
  KALSCAN_HD static T identity();
  KALSCAN_HD T operator()(const T& earlier, const T&) const { return earlier; }
};
struct named {
  float x;
  std::string name;
};
struct started {
  explicit started(float x_) : x(x_) {}
  float x;
};
struct large {
  float x[65];
};
struct keeper : first<float> {
  std::string name;
};

template <class M>
void scan(std::span<kalscan::element_t<M>> x) {
  kalscan::inclusive_scan(kalscan::cuda{}, M{}, x, x);
}

template <class T, int N, int M>
struct kalscan::kalman_model {};

void misuse() {
  scan<first<named>>({});
  scan<first<started>>({});
  scan<first<large>>({});
  scan<keeper>({});
  kalscan::filter(kalscan::cuda{}, kalscan::kalman_model<double, 1, 1>{}, 0);
  const kalscan::cuda policy{nullptr, kalscan::cuda_workspace(64)};
}
