// SPDX-License-Identifier: MIT
// The reciprocal of a number that is at least one, as the device has it in one instruction.
#pragma once

#include <kalscan/detail/config.hpp>
#include <type_traits>

namespace kalscan::detail {

/// 1 / x for x >= 1; of each number where x is several. On the device, for float, within one unit in the last place. The
/// instruction gives 0 where the result would be subnormal, so that a quarter of x is inverted; with Bounded, x is below
/// 2^126 or 0 will do.
template <bool Bounded = false, class T>
KALSCAN_HD constexpr T reciprocal(const T& x) {
  if constexpr (requires { typename T::number; }) {
    return T::of([&](int i) { return reciprocal<Bounded>(x.x[i]); });
  } else {
#if defined(__CUDA_ARCH__)
    if constexpr (std::is_same_v<T, float>) {
      if (!std::is_constant_evaluated()) {
        constexpr float scale = Bounded ? 1.0F : 0.25F;
        float y = 0;
        asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(scale * x));
        return scale * y;
      }
    }
#endif
    return T(1) / x;
  }
}

}  // namespace kalscan::detail
