// SPDX-License-Identifier: MIT
// Elements and beliefs are compared number by number, with no tolerance and as IEEE 754 compares.
#include <cmath>
#include <concepts>
#include <kalscan/kalman/scalar/belief.hpp>
#include <kalscan/kalman/scalar/filtering_element.hpp>
#include <kalscan/kalman/scalar/information_map.hpp>
#include <kalscan/kla/kla.hpp>
#include <kalscan/monoids/affine.hpp>
#include <kalscan/monoids/matrix.hpp>
#include <kalscan/monoids/mobius.hpp>
#include <kalscan/monoids/segmented.hpp>
#include <utility>

namespace {

/// X, an aggregate of the numbers 1, 2, ..., equals itself, and differs where any one number does.
template <class X, int... I>
constexpr bool compares(std::integer_sequence<int, I...>) {
  const X x{(I + 1.0F)...};
  const auto differs_at = [&](int k) {
    const X other{(I == k ? 77.0F : I + 1.0F)...};
    return !(x == other) && x != other;
  };
  return x == X(x) && (differs_at(I) && ...);
}
template <class X, int Numbers>
constexpr bool compares_all = compares<X>(std::make_integer_sequence<int, Numbers>());

static_assert(compares_all<kalscan::affine_map<float>, 2>);
static_assert(compares_all<kalscan::mobius_map<double>, 4>);
static_assert(compares_all<kalscan::belief<float>, 2>);
static_assert(compares_all<kalscan::information_belief<float>, 2>);
static_assert(compares_all<kalscan::scalar_observation<float>, 2>);
static_assert(compares_all<kalscan::filtering_element<float>, 5>);
static_assert(compares_all<kalscan::homogeneous_belief<float>, 3>);
static_assert(compares_all<kalscan::information_map<float>, 7>);
static_assert(compares_all<kalscan::belief_adjoint_map<float>, 4>);
static_assert(compares_all<kalscan::row_vector<float, 3>, 3>);

using square = kalscan::square_matrix<float, 2>;
static_assert(square{{{1, 2}, {3, 4}}} == square{{{1, 2}, {3, 4}}});
static_assert(square{{{1, 2}, {3, 4}}} != square{{{1, 2}, {3, 5}}} && square{{{1, 2}, {3, 4}}} != square{{{0, 2}, {3, 4}}});

using flagged = kalscan::flagged<float>;
static_assert(flagged{1, true} == flagged{1, true} && flagged{1, true} != flagged{1, false});
static_assert(flagged{1, true} != flagged{2, true});
struct opaque {};
static_assert(!std::equality_comparable<kalscan::flagged<opaque>>);

constexpr kalscan::belief<float> unknown{NAN, 1};
static_assert(unknown != unknown);
static_assert(kalscan::belief<float>{0.0F, 1} == kalscan::belief<float>{-0.0F, 1});

}  // namespace
