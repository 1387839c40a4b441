// SPDX-License-Identifier: MIT
#pragma once

#include <cstdlib>

/// Whether an instrument that slows all of this looks for faults of memory or for races, not at numbers: see
/// KALSCAN_FEW_MODELS in CMakeLists.txt.
inline bool under_an_instrument() { return std::getenv("KALSCAN_INSTRUMENT") != nullptr; }

/// A size of a test: with an instrument the smaller one, which runs the same code.
template <class T>
T unless_slow(T all, T few) {
  return under_an_instrument() ? few : all;
}
