// SPDX-License-Identifier: MIT
// Sixteen-bit storage: bfloat16 and IEEE 754 binary16, to be computed with in float.
#pragma once

#include <bit>
#include <cstdint>
#include <kalscan/support/config.hpp>
#include <kalscan/support/numbers.hpp>

namespace kalscan {

/// The upper half of a float: 8 bits of exponent, 8 of precision. Rounds to nearest, ties to even; NaN stays NaN.
struct bfloat16 {
  std::uint16_t bits = 0;

  bfloat16() = default;
  KALSCAN_HD explicit bfloat16(float x) {
#if defined(__CUDA_ARCH__)
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(x));
#else
    const auto u = std::bit_cast<std::uint32_t>(x);
    const std::uint32_t rounded = u + 0x7fff + (u >> 16 & 1);
    bits = static_cast<std::uint16_t>((detail::equal(x, x) ? rounded : u | 0x400000) >> 16);
#endif
  }
  KALSCAN_HD explicit operator float() const { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16); }
};

/// IEEE 754 binary16: 5 bits of exponent, 11 of precision, subnormals below 2^-14, infinity from 65520 on. Rounds to
/// nearest, ties to even.
struct float16 {
  std::uint16_t bits = 0;

  float16() = default;
  KALSCAN_HD explicit float16(float x) {
#if defined(__CUDA_ARCH__)
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
#else
    const auto u = std::bit_cast<std::uint32_t>(x);
    const std::uint32_t sign = u >> 16 & 0x8000, magnitude = u & 0x7fffffff;
    std::uint32_t half;
    if (magnitude > 0x7f800000) {
      half = 0x7e00;  // NaN
    } else if (magnitude >= 0x477ff000) {
      half = 0x7c00;  // rounds to 2^16 or more
    } else if (magnitude >= 0x38800000) {
      half = (magnitude + 0xfff + (magnitude >> 13 & 1) - (112U << 23)) >> 13;
    } else {
      // Adding 1/2 moves the last place of a subnormal to the last place of a float, which rounds it.
      half = std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + 0.5F) - std::bit_cast<std::uint32_t>(0.5F);
    }
    bits = static_cast<std::uint16_t>(sign | half);
#endif
  }
  KALSCAN_HD explicit operator float() const {
#if defined(__CUDA_ARCH__)
    float x = 0;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
    return x;
#else
    const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000) << 16,
                        rest = static_cast<std::uint32_t>(bits & 0x7fff) << 13;
    if (rest >= 0x7c00U << 13) return std::bit_cast<float>(sign | 0x7f800000 | rest);
    // As a float's bits the exponent is 112 too small; the product repairs it, and subnormals with it.
    return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(std::bit_cast<float>(rest) * 0x1p112F));
#endif
  }
};

}  // namespace kalscan
