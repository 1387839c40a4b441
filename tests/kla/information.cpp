// SPDX-License-Identifier: MIT
// KLA with beliefs and adjoints in information form: exact at precision 0, in float too, and whatever the form.
#include "information.hpp"

#include <algorithm>

#include <doctest/doctest.h>

#include "../errors.hpp"
#include "../instrument.hpp"
#include "shared.hpp"

namespace information_tests {
using namespace kla_test;
using kalscan::omp;
using kalscan::seq;
using predicted_kla = kalscan::kla_mixer<kalscan::readout::predicted>;

namespace {

/// Whether some adjoints lose digits for being carried as those of moments: large means with large variances, of which
/// observations leave nothing.
bool is_between_forms(const family& f) { return f.precision > 1e-20 && f.precision < 1 && f.vector > 0; }

const std::int64_t all_channels = unless_slow(3, 2), all_states = unless_slow(2, 1);

/// Under an instrument four of them, the packed last one among these.
template <class F>
void for_each_family(F f) {
  std::uint64_t seed = 0;
  for (const family& x : families) {
    CAPTURE(x.precision);
    CAPTURE(x.gap);
    CAPTURE(x.a_low);
    ++seed;
    if (under_an_instrument() && seed % 9 != 1) continue;
    f(x, seed, seed % 2 == 0 ? given::per_token : given::fixed);
  }
}

TEST_CASE("derivatives are those of the paper's recurrence, whatever is known before and however late it is observed") {
  for_each_family([](const family& f, std::uint64_t seed, given g) {
    auto x = information_problem_of<double>(f, seed, g, all_channels, all_states);
    const double bound = is_between_forms(f) ? 1e-9 : 2e-13;
    CHECK(worst_difference(information_backward(seq{}, x), x.derivatives()) < bound);
    x.predicted = true;
    CHECK(worst_difference(information_backward<predicted_kla>(seq{}, x), x.derivatives()) < bound);
  });
}

TEST_CASE("and in float, on threads and in chunks of time, with and without checkpoints") {
  for_each_family([](const family& f, std::uint64_t seed, given g) {
    const auto x = information_problem_of<float>(f, seed, g, all_channels, all_states);
    const auto exact = x.derivatives();
    const double bound = is_between_forms(f) ? 1e-4 : 2e-5;
    CHECK(worst_difference(information_backward(seq{}, x), exact) < bound);
    for (const omp& policy : {omp{2}, omp{2, 1}, omp{2, 16}}) {
      CAPTURE(policy.chunk);
      CHECK(worst_difference(information_backward(policy, x), exact) < bound);
    }
    CHECK(worst_difference(information_backward(omp{2, 7}, x, 5), exact) < bound);
  });
}

/// One token of one lane, all inputs 1 but a = 0.9 and p = 0.1, and the sum of mean and variance as the loss.
template <class T>
std::array<T, 2> prior_gradient(T precision, T vector) {
  information_problem<T> x;
  static_cast<problem<kla, T>&>(x) = random_problem<kla, T>(1, 1, 1, 1, 1);
  const auto set = [](array<T>& a, T value) { a.each([&](T& v) { v = value; }); };
  for (auto& a : x.in) set(a, 1);
  set(x.in[4], T(0.9)), set(x.in[5], T(0.1));
  set(x.initial[0], precision), set(x.initial[1], vector);
  for (auto& a : x.out_bar) set(a, 1);
  for (auto& a : x.final_bar) set(a, 0);
  const auto r = information_backward(seq{}, x);
  return {r.initial_bar[0].values[0], r.initial_bar[1].values[0]};
}

TEST_CASE_TEMPLATE("the gradient of a prior of precision 0, and next to 0", T, float, double) {
  for (const T precision : {T(0), T(1e-38), T(1e-30), T(1e-18)}) {
    const auto [in_precision, in_vector] = prior_gradient(precision, T(0));
    CHECK(in_precision == doctest::Approx(-2 / 0.81).epsilon(1e-6));
    CHECK(in_vector == doctest::Approx(1 / 0.9).epsilon(1e-6));
  }
  const auto [in_precision, in_vector] = prior_gradient(T(0), T(1));  // mean = 1 + 1 / 0.9, and p scales the vector
  CHECK(in_precision == doctest::Approx(-(2 + 1 / 0.9) / 0.81 - 0.1 / (0.9 * 0.81)).epsilon(1e-6));
  CHECK(in_vector == doctest::Approx(1 / 0.9).epsilon(1e-6));
}

/// Steps [from, to) of a problem without offsets.
template <class T>
information_problem<T> part_of(const information_problem<T>& x, std::int64_t from, std::int64_t to) {
  auto y = x;
  y.shape.time = to - from;
  const auto cut = [&](array<T>& a) {
    if (a.extent[1] == 1) return;
    array<T> b(a.extent[0], to - from, a.extent[2], a.extent[3]);
    for (std::int64_t n = 0; n < a.extent[0]; ++n) {
      std::copy_n(a.values.begin() + n * a.stride[0] + from * a.stride[1], (to - from) * a.stride[1],
                  b.values.begin() + n * b.stride[0]);
    }
    a = b;
  };
  for (auto& a : y.in) cut(a);
  for (auto& a : y.out_bar) cut(a);
  return y;
}

TEST_CASE("final beliefs feed the next call, and initial adjoints the call before, through precision 0 as elsewhere") {
  const auto check = [](const family& f, std::uint64_t seed, const auto& policy) {
    const auto whole = information_problem_of<float>(f, seed);
    const auto outputs = information_forward(policy, whole);
    const auto bars = information_backward(policy, whole);
    for (const std::int64_t cut : {0, 2, 20, 47}) {
      CAPTURE(cut);
      auto first = part_of(whole, 0, cut), second = part_of(whole, cut, 47);
      second.initial = information_forward(policy, first).final;
      if (f.precision == 0 && cut <= f.gap && f.a_low > 0) {
        CHECK(second.initial[0].list() == std::vector<float>(12, 0.0F));
      }
      const auto r = information_forward(policy, second);
      CHECK(difference(r.final, outputs.final) < 1e-5);
      if (cut < 47) CHECK(std::abs(r.out[0].view()(1, 46 - cut, 2, 0) - outputs.out[0].view()(1, 46, 2, 0)) < 1e-5F);
      first.final_bar = information_backward(policy, second).initial_bar;
      CHECK(difference(information_backward(policy, first).initial_bar, bars.initial_bar) <
            (is_between_forms(f) ? 1e-4 : 2e-5));
    }
  };
  std::uint64_t seed = 0;
  for (const family& f : families) {
    if (!f.offsets.empty()) continue;
    CAPTURE(f.precision);
    CAPTURE(f.gap);
    ++seed;
    if (under_an_instrument() && seed % 9 != 1) continue;
    check(f, seed, seq{});
    check(f, seed, omp{2, 7});
  }
}

TEST_CASE("step, token by token and in place, in information form") {
  for (const auto& f : {families[2], families[9], families[21]}) {
    const auto x = information_problem_of<float>(f, 7);
    const auto whole = information_forward(omp{2}, x);
    auto state = x.initial;
    for (std::int64_t t = 0; t < 47; ++t) {
      const auto token = part_of(x, t, t + 1);
      array<float> y(2, 1, 3, 1), yvar(2, 1, 3, 1);
      kalscan::step(omp{2}, kla{}, token.shape, token.in_views(), kalscan::kla_outputs{y.view(), yvar.view()},
                    as_information<tensor<float>>(state));
      if (t >= f.gap) {
        CHECK(y.view()(1, 0, 2, 0) == doctest::Approx(whole.out[0].view()(1, t, 2, 0)).epsilon(1e-4));
        CHECK(yvar.view()(1, 0, 2, 0) == doctest::Approx(whole.out[1].view()(1, t, 2, 0)).epsilon(1e-5));
      }
    }
    CHECK(difference(state, whole.final) < 1e-5);
  }
}

TEST_CASE("the forms of the initial belief, of the final adjoint and of the initial adjoint are chosen one by one") {
  for (const std::int64_t L : {0, 1, 33}) {
    CAPTURE(L);
    auto p = random_problem<kla, float>(2, L, 18, 2, 3);
    const auto exact = run_backward<kla>(seq{}, p.as<long double>());
    const auto last = run_forward<kla>(seq{}, p.as<long double>()).final;
    auto prior = p.initial, final_bar = p.final_bar;
    std::vector<array<long double>> prior_bar = exact.initial_bar;
    for (std::size_t i = 0; i < prior[0].values.size(); ++i) {
      const long double m = p.initial[0].values[i], P = p.initial[1].values[i];
      prior[0].values[i] = static_cast<float>(1 / P), prior[1].values[i] = static_cast<float>(m / P);
      const long double mb = exact.initial_bar[0].values[i], Pb = exact.initial_bar[1].values[i];
      prior_bar[0].values[i] = -P * (m * mb + P * Pb), prior_bar[1].values[i] = P * mb;
      const long double mL = last[0].values[i], PL = last[1].values[i], mLb = p.final_bar[0].values[i],
                        PLb = p.final_bar[1].values[i];
      final_bar[0].values[i] = static_cast<float>(-PL * (mL * mLb + PL * PLb));
      final_bar[1].values[i] = static_cast<float>(PL * mLb);
    }
    const auto check = [&](const auto& policy) {
      for (int forms = 0; forms < 8; ++forms) {
        CAPTURE(forms);
        backward_result<float> r;
        for (const auto& a : p.in) r.in_bar.emplace_back(a.extent[0], a.extent[1], a.extent[2], a.extent[3]);
        for (int i = 0; i < 2; ++i) r.initial_bar.emplace_back(2, 1, 18, 2);
        kalscan::mixer_adjoints<kla, float> states{.initial = p.initial_views(), .final_bar = p.final_bar_views()};
        states.initial_bar = {r.initial_bar[0].view(), r.initial_bar[1].view()};
        if (forms & 1) states.initial = as_information<tensor<const float>>(prior);
        if (forms & 2) states.final_bar = as_information<tensor<const float>>(final_bar);
        if (forms & 4) states.initial_bar = as_information<tensor<float>>(r.initial_bar);
        kalscan::backward(policy, kla{}, p.shape, p.in_views(), p.out_bar_views(),
                          p.writable<kalscan::kla_inputs<tensor<float>>>(r.in_bar), states);
        CHECK(difference(r.in_bar, exact.in_bar) < 2e-5);
        CHECK(difference(r.initial_bar, forms & 4 ? prior_bar : exact.initial_bar) < 2e-5);
      }
    };
    check(seq{}), check(omp{2}), check(omp{2, 16});
  }
}

TEST_CASE("half a final adjoint has zeros for the other half, and half an initial one is all that is computed") {
  for (const bool information : {false, true}) {
    CAPTURE(information);
    auto x = information_problem_of<float>({1, 1, 0, 0.5, 0.97, 1}, 5);
    for (std::size_t half = 0; half < 2; ++half) {
      auto zeros = x;
      zeros.final_bar[1 - half].each([](float& v) { v = 0; });
      const auto run = [&](const auto& policy, bool by_half) {
        backward_result<float> r;
        for (const auto& a : x.in) r.in_bar.emplace_back(a.extent[0], a.extent[1], a.extent[2], a.extent[3]);
        for (int i = 0; i < 2; ++i) r.initial_bar.emplace_back(2, 1, 3, 2);
        kalscan::mixer_adjoints<kla, float> states{.initial = as_information<tensor<const float>>(x.initial)};
        if (information) {
          states.final_bar = as_information<tensor<const float>>(zeros.final_bar);
          states.initial_bar = as_information<tensor<float>>(r.initial_bar);
        } else {
          states.final_bar = zeros.final_bar_views();
          states.initial_bar = {r.initial_bar[0].view(), r.initial_bar[1].view()};
        }
        if (by_half) {  // of an information_belief the precision comes first, of the tensors that are kept the vector
          const bool first = (half == 0) != information;
          (first ? states.final_bar.variance : states.final_bar.mean) = {};
          (first ? states.initial_bar.variance : states.initial_bar.mean) = {};
        }
        kalscan::backward(policy, kla{}, x.shape, x.in_views(), x.out_bar_views(),
                          x.template writable<kalscan::kla_inputs<tensor<float>>>(r.in_bar), states);
        return r;
      };
      const auto check = [&](const auto& policy) {
        const auto r = run(policy, true), both = run(policy, false);
        CHECK(same_bits(r.in_bar, both.in_bar));
        CHECK(r.initial_bar[half].list() == both.initial_bar[half].list());
        CHECK(r.initial_bar[1 - half].list() == std::vector<float>(12, 0.0F));
      };
      check(seq{}), check(omp{2}), check(omp{2, 16});
    }
  }
}

TEST_CASE("a belief too wide for the adjoint of its moments may be read, too") {
  // Nothing is observed for three tokens, and what is read there has variances of 1e25.
  auto x = information_problem_of<float>({1e-25, 0, 3, 0.5, 0.97, 1}, 8);
  for (std::int64_t t = 0; t < 3; ++t) {
    for (std::int64_t s = 0; s < 2; ++s) x.in[3].view()(1, t, 0, s) = 1;
  }
  const auto exact = x.derivatives();
  const auto check = [&](const auto& policy) {
    const auto r = information_backward(policy, x);
    for (const std::size_t i : std::initializer_list<std::size_t>{0, 3, 4, 5})
      CHECK(difference(r.in_bar[i], exact.in_bar[i]) < 1e-5);
    CHECK(difference(r.initial_bar[1], exact.initial_bar[1]) < 1e-5);
  };
  check(seq{}), check(omp{2}), check(omp{2, 1});
}

TEST_CASE("where states computed twice differ by their rounding, an adjoint has one form all the same") {
  // Precisely where the form changes; a state that a checkpoint has is beyond it, the one that is computed again is
  // not.
  auto x = information_problem_of<float>({1.0 / 1024, 0, 18, 1, 1, 0}, 12);
  std::mt19937_64 engine(12);
  fill(x.initial[1], engine, 1.5, 2);
  array<float> mean(2, 3, 3, 2), variance(2, 3, 3, 2);
  kalscan::forward(seq{}, kla{}, x.shape, x.in_views(), kalscan::kla_outputs<tensor<float>>{},
                   {.initial = as_information<tensor<const float>>(x.initial),
                    .checkpoints = {mean.view(), variance.view()},
                    .every = 16});
  CHECK(variance.view()(0, 1, 0, 0) == 1024);
  for (std::int64_t m = 0; m < 3; ++m) {
    for (std::int64_t s = 0; s < 2; ++s) variance.view()(0, 1, m, s) = std::nextafter(1024.0F, 2000.0F);
  }
  const auto exact = x.derivatives();
  auto initial_bar = x.initial;
  for (const omp& policy : {omp{2}, omp{2, 16}}) {
    kalscan::backward(policy, kla{}, x.shape, x.in_views(), x.out_bar_views(), kalscan::kla_inputs<tensor<float>>{},
                      {.initial = as_information<tensor<const float>>(x.initial),
                       .checkpoints = {mean.view(), variance.view()},
                       .every = 16,
                       .final_bar = as_information<tensor<const float>>(x.final_bar),
                       .initial_bar = as_information<tensor<float>>(initial_bar)});
    CHECK(difference(initial_bar, exact.initial_bar) < 1e-4);
  }
}

TEST_CASE("gradients of priors in information form sum into the caller's arrays on request") {
  const auto x = information_problem_of<float>(families[9], 9);
  const auto once = information_backward(omp{2}, x);
  auto initial = x.initial, final_bar = x.final_bar, twice = once.initial_bar;
  kalscan::backward(omp{2}, kla{}, x.shape, x.in_views(), x.out_bar_views(), kalscan::kla_inputs<tensor<float>>{},
                    {.initial = as_information<tensor<const float>>(initial),
                     .final_bar = as_information<tensor<const float>>(final_bar),
                     .initial_bar = as_information<tensor<float>>(twice),
                     .accumulate = true});
  for (std::size_t i = 0; i < 12; ++i) CHECK(twice[0].values[i] == 2 * once.initial_bar[0].values[i]);
}

TEST_CASE("in moment form an infinite variance has no mean, coming or going") {
  auto x = information_problem_of<float>({0, 1, 47, 0.5, 0.97, 1}, 10);
  array<float> mean(2, 1, 3, 2), variance(2, 1, 3, 2);
  const kalscan::belief<tensor<float>> final{mean.view(), variance.view()};
  const kalscan::kla_outputs<tensor<float>> none;
  for (const bool parallel : {false, true}) {
    const auto run = [&](const kalscan::mixer_states<kla, float>& states) {
      if (parallel) {
        kalscan::forward(omp{2}, kla{}, x.shape, x.in_views(), none, states);
      } else {
        kalscan::forward(seq{}, kla{}, x.shape, x.in_views(), none, states);
      }
    };
    run({.initial = as_information<tensor<const float>>(x.initial), .final = final});
    CHECK(mean.list() == std::vector<float>(12, 0.0F));
    CHECK(variance.list() == std::vector<float>(12, std::numeric_limits<float>::infinity()));
    mean.each([](float& m) { m = 7; });
    auto end = x.initial;
    run({.initial = final, .final = as_information<tensor<float>>(end)});
    CHECK(end[0].list() == std::vector<float>(12, 0.0F));
    CHECK(end[1].list() == std::vector<float>(12, 0.0F));
  }
}

TEST_CASE("bad states in information form are refused by name") {
  auto x = information_problem_of<float>(families[0], 11);
  const auto refused = [&](auto change) {
    kalscan::mixer_states<kla, float> states{.initial = as_information<tensor<const float>>(x.initial)};
    kalscan::mixer_adjoints<kla, float> adjoints{.initial = states.initial};
    change(states, adjoints);
    const kalscan::kla_outputs<tensor<float>> none;
    const auto forward = message_of([&] { kalscan::forward(seq{}, kla{}, x.shape, x.in_views(), none, states); });
    if (forward != "no std::invalid_argument") return forward;
    return message_of([&] {
      kalscan::backward(seq{}, kla{}, x.shape, x.in_views(), x.out_bar_views(), kalscan::kla_inputs<tensor<float>>{},
                        adjoints);
    });
  };
  array<float> small(2, 1, 3, 1), right(2, 1, 3, 2);
  using beliefs = kalscan::information_belief<tensor<float>>;
  CHECK(refused([](auto&, auto&) {}) == "no std::invalid_argument");
  CHECK(refused([&](auto& s, auto&) {
          s.final = beliefs{small.view(), right.view()};
        }) == "kalscan: final precision is [2, 1, 3, 1], not [2, 1, 3, 2]");
  CHECK(refused([&](auto& s, auto&) {
          s.final = beliefs{{}, right.view()};
        }) == "kalscan: final precision is a null pointer");
  CHECK(refused([&](auto&, auto& a) {
          a.final_bar = beliefs{right.view(), small.view()};
        }) == "kalscan: the adjoint of final vector is [2, 1, 3, 1], not [2, 1, 3, 2]");
  CHECK(refused([&](auto&, auto& a) {
          a.initial_bar = beliefs{small.view(), {}};
        }) == "kalscan: the adjoint of initial precision is [2, 1, 3, 1], not [2, 1, 3, 2]");
  x.initial[0].view()(1, 0, 2, 1) = -1e-30F;
  CHECK(refused([](auto&, auto&) {}).rfind("kalscan: initial precision [1, 0, 2, 1] is -1e-30", 0) == 0);
}

}  // namespace
}  // namespace information_tests
