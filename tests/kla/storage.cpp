// SPDX-License-Identifier: MIT
// Sixteen-bit storage: every value survives the way through float, and floats between two values go to the nearer one.
#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <kalscan/mixer/storage.hpp>
#include <limits>

namespace storage_tests {
namespace {

template <class E>
float value(std::uint32_t bits) {
  E x;
  x.bits = static_cast<std::uint16_t>(bits);
  return static_cast<float>(x);
}

TEST_CASE_TEMPLATE("every value survives, and what lies between two goes to the nearer, ties to even", E,
                   kalscan::bfloat16, kalscan::float16) {
  const float infinity = std::numeric_limits<float>::infinity();
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float x = value<E>(bits);
    if (std::isnan(x)) {
      CHECK(std::isnan(static_cast<float>(E(x))));
      continue;
    }
    REQUIRE(E(x).bits == bits);
    if (std::isinf(x) || std::isinf(value<E>(bits + 1)) || (bits & 0x7fff) == 0x7fff) continue;
    const float next = value<E>(bits + 1), middle = x + (next - x) / 2;
    const std::uint32_t even = bits % 2 == 0 ? bits : bits + 1;
    REQUIRE(E(middle).bits == even);
    REQUIRE(E(std::nextafter(middle, x)).bits == bits);
    REQUIRE(E(std::nextafter(middle, next)).bits == bits + 1);
  }
  CHECK(static_cast<float>(E(infinity)) == infinity);
  CHECK(static_cast<float>(E(-1e-45F)) <= 0);
}

TEST_CASE("float16 has the values of IEEE 754") {
  CHECK(value<kalscan::float16>(0x3c00) == 1);
  CHECK(value<kalscan::float16>(0x0001) == std::ldexp(1.0F, -24));
  CHECK(value<kalscan::float16>(0x7bff) == 65504);
  CHECK(kalscan::float16(65519.0F).bits == 0x7bff);
  CHECK(kalscan::float16(65520.0F).bits == 0x7c00);
  CHECK(kalscan::float16(-0.0F).bits == 0x8000);
}

}  // namespace
}  // namespace storage_tests
