// SPDX-License-Identifier: MIT
// What ranks need of each other: who they are, and one collective call.
#pragma once

#include <concepts>
#include <cstddef>
#include <kalscan/support/config.hpp>
#include <span>

namespace kalscan {

/// A rank's end of a group of ranks, which all call the same verbs in the same order. A small value, copied freely:
///
///     rank(), size()           0 <= rank() < size(), the same size on every rank
///     all_gather(in, out)      called by all ranks with `in` of one size: rank r's bytes are at out[r * in.size()] on
///                              every rank afterwards, where out.size() is size() * in.size(). Throws where a rank is
///                              lost or time runs out: how that is found, and after what time, is the communicator's
///
/// No operator is handed over, since libraries of collectives may reorder operands: all that is asked of them is bytes.
template <class C>
concept communicator = std::copy_constructible<C> &&
    requires(const C& c, std::span<const std::byte> in, std::span<std::byte> out) {
  { c.rank() } -> std::convertible_to<int>;
  { c.size() } -> std::convertible_to<int>;
  c.all_gather(in, out);
};

}  // namespace kalscan
