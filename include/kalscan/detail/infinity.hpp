// SPDX-License-Identifier: MIT
// Infinity as a constant that device code may name, too.
#pragma once

#include <kalscan/detail/config.hpp>
#include <limits>

namespace kalscan::detail {

template <class T>
inline constexpr T infinity = std::numeric_limits<T>::infinity();

}  // namespace kalscan::detail
