// SPDX-License-Identifier: MIT
// The formulas that no host back end calls but every device does: runs of steps, and several lanes as one number.
#include <doctest/doctest.h>

#include <cmath>
#include <kalscan/kalscan.hpp>
#include <kalscan/support/simd_value.hpp>
#include <random>

namespace device_formulas_tests {
namespace {

using kalscan::gla;
using kalscan::kla;
using predicted_kla = kalscan::kla_mixer<kalscan::readout::predicted>;
using kalscan::detail::from_fields;
using kalscan::detail::array_size;
using kalscan::detail::as_array;

template <class X>
X uniform(std::mt19937_64& e, float low, float high) {
  return from_fields<X, float>([&](auto) { return std::uniform_real_distribution<float>(low, high)(e); });
}

TEST_CASE_TEMPLATE("a chunk taken as a run acts as its steps, rescaled only where it is large", M, kla, predicted_kla) {
  std::mt19937_64 engine(4);
  bool rescaled = false;
  for (const float precision : {1e-6F, 1.0F, 1e6F, 1e9F}) {
    CAPTURE(precision);
    auto run = M::template no_steps<float>();
    kalscan::belief<long double> x{0.5L, 2};
    for (int t = 0; t < 200; ++t) {
      auto u = uniform<kalscan::kla_inputs<float>>(engine, 0.5F, 1);
      u.Lambda *= precision;
      run = M::extend(run, kalscan::prepare<M, float>(u));
      // Every four steps as in the kernel, which asks before it rescales.
      if (t % 4 == 3 && M::is_large(run)) run = M::rescaled(run), rescaled = true;
      x = M::step(x, kalscan::prepare<M, long double>({u.v, u.Lambda, u.k, u.q, u.a, u.p}));
    }
    const auto after = M::act(run, kalscan::belief<float>{0.5F, 2});
    CHECK(after.mean == doctest::Approx(static_cast<double>(x.mean)).epsilon(1e-5));
    CHECK(after.variance == doctest::Approx(static_cast<double>(x.variance)).epsilon(1e-5));
  }
  CHECK(rescaled);
}

/// Four of an aggregate of floats as one of several.
using four = kalscan::detail::simd_value<float, 4>;
template <template <class...> class X>
X<four> together(const X<float> (&x)[4]) {
  return from_fields<X<four>, four>([&](auto i) { return four::of([&](int j) { return as_array<float>(x[j])[i()]; }); });
}
template <class X, class Four>
void check_apart(const Four& all, int j, const X& one) {
  const auto a = as_array<four>(all);
  const auto b = as_array<float>(one);
  CHECK(a.size() == b.size());
  for (std::size_t i = 0; i < b.size(); ++i) CHECK(a[i].x[j] == doctest::Approx(b[i]).epsilon(1e-5));
}

TEST_CASE_TEMPLATE("four lanes as one number take the steps that each takes alone", M, kla, predicted_kla) {
  using O = typename M::ordinary;
  std::mt19937_64 engine(6);
  kalscan::kla_terms<float> u[4];
  kalscan::belief<float> x[4], after[4], later[4];
  kalscan::kla_outputs<float> y[4];
  kalscan::belief_adjoint_map<float> map[4];
  kalscan::information_map<float> run[4];
  for (int j = 0; j < 4; ++j) {
    u[j] = kalscan::prepare<M, float>(uniform<kalscan::kla_inputs<float>>(engine, 0.1F, 1));
    x[j] = uniform<kalscan::belief<float>>(engine, 0.1F, 1), later[j] = uniform<kalscan::belief<float>>(engine, -1, 1);
    y[j] = uniform<kalscan::kla_outputs<float>>(engine, -1, 1);
    map[j] = uniform<kalscan::belief_adjoint_map<float>>(engine, -1, 1);
    run[j] = uniform<kalscan::information_map<float>>(engine, 0.1F, 1);
    after[j] = O::step(x[j], u[j]);
  }
  const auto all_u = together(u);
  const auto all_x = together(x), all_after = O::step(all_x, all_u), all_later = together(later);
  const auto all_y = together(y);
  const auto back = O::adjoint(all_x, all_u, all_after, all_later, all_y);
  const auto lifted = O::adjoint_lift(all_x, all_u, all_after, all_y);
  const auto combined = O::template adjoint_monoid<four>()(lifted, together(map));
  const auto extended = M::extend(together(run), all_u);
  for (int j = 0; j < 4; ++j) {
    const auto alone = O::adjoint(x[j], u[j], after[j], later[j], y[j]);
    const auto element = O::adjoint_lift(x[j], u[j], after[j], y[j]);
    check_apart(all_after, j, after[j]);
    check_apart(O::readout(all_after, all_u), j, O::readout(after[j], u[j]));
    check_apart(back.earlier, j, alone.earlier);
    check_apart(back.inputs, j, alone.inputs);
    check_apart(lifted, j, element);
    check_apart(combined, j, O::template adjoint_monoid<float>()(element, map[j]));
    check_apart(extended, j, M::extend(run[j], u[j]));
    for (int i = 0; i < 4; ++i)
      check_apart(M::extend_in_four(together(run), all_u, i), j, M::extend_in_four(run[j], u[j], i));
  }
}

TEST_CASE("arithmetic on several numbers is that on each") {
  const four a = four::of([](int i) { return 1.0F + static_cast<float>(i); }), b(2.0F);
  auto c = a;
  c += b, c *= a, c -= b;
  for (int i = 0; i < 4; ++i) {
    const float x = a.x[i];
    CHECK((a - b).x[i] == x - 2);
    CHECK((a / b).x[i] == x / 2);
    CHECK((-a).x[i] == -x);
    CHECK(c.x[i] == (x + 2) * x - 2);
    CHECK(kalscan::detail::reciprocal<kalscan::detail::rounding_mode::bounded>(a).x[i] == 1 / x);
  }
}

}  // namespace
}  // namespace device_formulas_tests
