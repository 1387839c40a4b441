// SPDX-License-Identifier: MIT
// The reciprocal of a positive number, as the device has it in one instruction.
#pragma once

#include <kalscan/detail/config.hpp>
#include <type_traits>

namespace kalscan::detail {

/// How a device takes a reciprocal in float: rounded as the host does it; by one instruction, within one unit in the last
/// place; or by that instruction alone, for what is below 2^126, or where a subnormal result may become 0.
enum class inverse { exact, approximate, bounded };

/// 1 / x for x >= 2^-124, below which a device may say infinity; of each number where x is several.
template <inverse How, class T>
KALSCAN_HD constexpr T reciprocal(const T& x) {
  if constexpr (requires { typename T::number; }) {
    return T::of([&](int i) { return reciprocal<How>(x.x[i]); });
  } else {
#if defined(__CUDA_ARCH__)
    if constexpr (std::is_same_v<T, float> && How != inverse::exact) {
      if (!std::is_constant_evaluated()) {
        // The instruction gives 0 where the result would be subnormal, so a quarter of x is inverted.
        constexpr float scale = How == inverse::bounded ? 1.0F : 0.25F;
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
