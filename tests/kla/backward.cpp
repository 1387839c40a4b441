// SPDX-License-Identifier: MIT
// The adjoints of the mixers: against differences in long double, omp against seq, and whatever must not change them.
#include <doctest/doctest.h>

#include <algorithm>

#include "passes.hpp"
#include "shared.hpp"

namespace backward_tests {
using namespace kla_test;
using kalscan::gla;
using kalscan::kla;
using kalscan::omp;
using kalscan::seq;
using predicted_kla = kalscan::kla_mixer<kalscan::readout::predicted>;

namespace {

TEST_CASE_TEMPLATE("every adjoint is the derivative, for every kind of parameter", M, kla, predicted_kla, gla) {
  check_derivatives<M>();
}

TEST_CASE_TEMPLATE(
    "omp gives what seq gives in long double, for ragged sizes, all kinds of parameters and strided arrays", M, kla,
    predicted_kla, gla) {
  std::uint64_t seed = 0;
  for (const given g :
       {given::fixed, given::per_token, given::per_token_channel, given::per_token_state, given::per_batch}) {
    for (const auto& size : ragged_shapes) {
      CAPTURE(size[1]);
      ++seed;
      check_backward(random_problem<M, double>(size[0], size[1], size[2], size[3], seed, g, seed % 2 == 0), 1e-11);
    }
  }
  const std::int64_t L = unless_slow(70, 40), C = unless_slow(40, 5);
  check_backward(random_problem<M, float>(2, L, C, 17, 90), 2e-5);
  check_backward(random_problem<M, float>(2, L, C, 17, 91, given::per_token, true), 2e-5);
  check_backward(random_problem<M, double>(1, 90, 21, 3, 92, given::fixed, false, {0, 5, 5, 6, 60, 90}), 1e-11);
}

TEST_CASE("lengths around tiles and chunks") {
  for (const std::int64_t L : {0, 1, 2, 15, 16, 17, 32, 33, 47, 211}) {
    CAPTURE(L);
    check_backward(random_problem<kla, double>(1, L, 3, 2, 100 + static_cast<std::uint64_t>(L)), 1e-11);
  }
}

TEST_CASE("with no steps, the adjoint of the final states is that of the initial ones, and parameters have none") {
  const auto p = random_problem<kla, double>(2, 0, 3, 2, 1);
  for (const int threads : {0, 2}) {
    const auto r = threads ? run_backward<kla>(omp{threads}, p) : run_backward<kla>(seq{}, p);
    CHECK(difference(r.initial_bar, p.final_bar) == 0);
    CHECK(r.in_bar[4].list() == std::vector<double>(6, 0.0));
  }
}

TEST_CASE_TEMPLATE("the bits do not depend on the number of threads, whether time is split or not", M, kla, gla) {
  for (const given g : {given::fixed, given::per_token_state}) {
    const auto p = random_problem<M, float>(unless_slow(2, 1), unless_slow(130, 60), 270, unless_slow(4, 1), 1, g);
    for (const std::int64_t chunk : {0, 50}) {
      const auto one = run_backward<M>(omp{1, chunk}, p);
      for (const int threads : {2, 3, 16}) {
        const auto r = run_backward<M>(omp{threads, chunk}, p);
        CHECK(same_bits(r.in_bar, one.in_bar));
        CHECK(same_bits(r.initial_bar, one.initial_bar));
      }
    }
  }
}

TEST_CASE("checkpoints of the forward pass, at any distance, give the adjoints that no checkpoints give") {
  for (const std::vector<std::int64_t>& offsets :
       {std::vector<std::int64_t>{}, std::vector<std::int64_t>{0, 40, 40, 47, 100}}) {
    const std::int64_t B = offsets.empty() ? 2 : 1;
    const auto p = random_problem<kla, double>(B, 100, 20, 3, 2, given::fixed, false, offsets);
    const auto expected = run_backward<kla>(omp{2}, p);
    for (const std::int64_t every : {1, 5, 16, 48, 1000}) {
      const auto forward = run_forward<kla>(omp{2}, p, every);
      for (const omp& policy : {omp{2}, omp{2, 30}}) {
        const auto r = run_backward<kla>(policy, p, &forward, every);
        CHECK(difference(r.in_bar, expected.in_bar) < 1e-12);
        CHECK(difference(r.initial_bar, expected.initial_bar) < 1e-12);
      }
    }
  }
}

TEST_CASE("gradients sum into the caller's arrays on request") {
  for (const given g : {given::fixed, given::per_token}) {
    const auto p = random_problem<kla, double>(2, 20, 18, 3, 3, g);
    const auto once = run_backward<kla>(omp{2}, p);
    const auto check = [&](const backward_result<double>& twice) {
      for (std::size_t i = 0; i < once.in_bar.size(); ++i) {
        const auto a = once.in_bar[i].list(), b = twice.in_bar[i].list();
        for (std::size_t j = 0; j < a.size(); ++j) CHECK(b[j] == doctest::Approx(2 * a[j]).epsilon(1e-12));
      }
      CHECK(twice.initial_bar[0].list()[5] == doctest::Approx(2 * once.initial_bar[0].list()[5]));
    };
    check(run_backward<kla>(omp{2}, p, nullptr, 0, false, &once));
    check(run_backward<kla>(seq{}, p, nullptr, 0, false, &once));
  }
}

TEST_CASE("the adjoint chains: from part to part, backwards, it is that of the whole") {
  const auto p = random_problem<kla, double>(1, 60, 5, 3, 4);
  const auto whole = run_backward<kla>(omp{2}, p);
  const auto states = run_forward<kla>(seq{}, p, 20);
  std::vector<array<double>> bar = p.final_bar;
  std::vector<double> a_bar(15, 0.0);
  for (std::int64_t from = 40; from >= 0; from -= 20) {
    problem<kla, double> part;
    part.shape = {1, 20, 5, 3, {}};
    const auto cut = [&](const array<double>& x) {
      if (x.extent[1] == 1) return x;
      array<double> y(1, 20, x.extent[2], x.extent[3]);
      std::copy_n(x.values.begin() + from * x.stride[1], 20 * x.stride[1], y.values.begin());
      return y;
    };
    for (const auto& x : p.in) part.in.push_back(cut(x));
    for (const auto& x : p.out_bar) part.out_bar.push_back(cut(x));
    for (const auto& x : states.checkpoints) {
      part.initial.emplace_back(1, 1, 5, 3);
      std::copy_n(x.values.begin() + from / 20 * 15, 15, part.initial.back().values.begin());
    }
    part.final_bar = bar;
    const auto r = run_backward<kla>(omp{2}, part);
    bar = r.initial_bar;
    for (std::size_t i = 0; i < 15; ++i) a_bar[i] += r.in_bar[4].values[i];
    CHECK(r.in_bar[0].view()(0, 3, 4, 0) == doctest::Approx(whole.in_bar[0].view()(0, from + 3, 4, 0)).epsilon(1e-12));
    CHECK(r.in_bar[2].view()(0, 3, 0, 2) == doctest::Approx(whole.in_bar[2].view()(0, from + 3, 0, 2)).epsilon(1e-12));
  }
  CHECK(difference(bar, whole.initial_bar) < 1e-13);
  for (std::size_t i = 0; i < 15; ++i) CHECK(a_bar[i] == doctest::Approx(whole.in_bar[4].values[i]).epsilon(1e-12));
}

TEST_CASE("the adjoint is the transpose of the derivative: <bar, J d> == <J' bar, d> along random directions") {
  auto p = random_problem<kla, long double>(1, 50, 4, 3, 5);
  const auto bars = run_backward<kla>(seq{}, p);
  std::mt19937_64 engine(5);
  std::normal_distribution<double> normal;
  std::vector<std::vector<long double>> direction;
  long double right = 0;
  const auto draw = [&](const std::vector<array<long double>>& x, const std::vector<array<long double>>& bar) {
    for (std::size_t i = 0; i < x.size(); ++i) {
      direction.emplace_back();
      for (std::size_t j = 0; j < x[i].values.size(); ++j) {
        direction.back().push_back(normal(engine));
        right += direction.back().back() * bar[i].values[j];
      }
    }
  };
  draw(p.in, bars.in_bar), draw(p.initial, bars.initial_bar);
  const auto at = [&](long double h) {
    auto q = p;
    std::size_t k = 0;
    for (auto* list : {&q.in, &q.initial}) {
      for (auto& x : *list) {
        for (std::size_t j = 0; j < x.values.size(); ++j) x.values[j] += h * direction[k][j];
        ++k;
      }
    }
    return objective<kla>(q);
  };
  const long double h = 1e-5L, left = (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h);
  CHECK(static_cast<double>(left) == doctest::Approx(static_cast<double>(right)).epsilon(1e-9));
}

TEST_CASE("a diffuse prior has no adjoint, and spoils no other") {
  auto p = random_problem<kla, double>(1, 30, 17, 2, 6);
  p.in[1].each([](double& x) { x = std::max(x, 0.2); });
  p.in[2].each([](double& x) { x += x < 0 ? -0.1 : 0.1; });
  p.initial[0].each([](double& x) { x = 0; });
  auto wide = p;
  wide.initial[1].each([](double& x) { x = 1e8; });
  p.initial[1].each([](double& x) { x = std::numeric_limits<double>::infinity(); });
  const auto limit = run_backward<kla>(seq{}, wide);
  for (const int chunk : {0, 11}) {
    const auto r = run_backward<kla>(omp{2, chunk}, p);
    CHECK(r.initial_bar[0].list() == std::vector<double>(34, 0.0));
    CHECK(r.initial_bar[1].list() == std::vector<double>(34, 0.0));
    CHECK(difference(r.in_bar, limit.in_bar) < 1e-5);
  }
}

TEST_CASE("float against double over a long time") {
  const std::int64_t L = unless_slow(20000, 800);
  const auto p = random_problem<kla, float>(1, L, 16, 4, 7);
  const auto exact = run_backward<kla>(omp{2}, p.as<double>());
  for (const omp& policy : {omp{2}, omp{2, L / 4}}) {
    CHECK(difference(run_backward<kla>(policy, p).in_bar, exact.in_bar) < 1e-4);
  }
}

TEST_CASE("gradients that nobody asks for are left alone") {
  const auto p = random_problem<kla, double>(2, 20, 18, 3, 8);
  const auto all = run_backward<kla>(omp{2}, p);
  array<double> v_bar(2, 20, 18, 1);
  kalscan::kla_inputs<tensor<double>> wanted{};
  wanted.v = v_bar.view();
  const auto initial = p.initial_views();
  for (const int threads : {0, 2}) {
    kalscan::mixer_adjoints<kla, double> states{.initial = initial, .final_bar = p.final_bar_views()};
    if (threads) {
      kalscan::backward(omp{threads}, kla{}, p.shape, p.in_views(), p.out_bar_views(), wanted, states);
    } else {
      kalscan::backward(seq{}, kla{}, p.shape, p.in_views(), p.out_bar_views(), wanted, states);
    }
    CHECK(difference(v_bar, all.in_bar[0]) < 1e-13);
  }
}

TEST_CASE("shapes without lanes or sequences") {
  const std::vector<std::array<std::int64_t, 4>> shapes = {{0, 20, 3, 2}, {2, 20, 0, 2}, {2, 20, 3, 0}};
  for (const auto& size : shapes) {
    for (const given g : {given::fixed, given::per_token, given::per_token_channel}) {
      const auto p = random_problem<kla, double>(size[0], size[1], size[2], size[3], 9, g);
      CHECK(same_bits(run_backward<kla>(omp{2}, p).in_bar, run_backward<kla>(seq{}, p).in_bar));
      CHECK(same_bits(run_forward<kla>(omp{2}, p).out, run_forward<kla>(seq{}, p).out));
    }
  }
  const auto none = random_problem<kla, double>(1, 0, 3, 2, 9, given::fixed, false, {0});
  CHECK(run_backward<kla>(omp{2}, none).in_bar[4].list() == std::vector<double>(6, 0.0));
}

TEST_CASE("checkpoints may be further apart than the sequence is long") {
  const auto p = random_problem<kla, double>(1, 40, 3, 2, 10);
  const auto expected = run_backward<kla>(omp{2}, p);
  for (const std::int64_t every :
       {std::int64_t{1} << 32, std::int64_t{1} << 62, std::numeric_limits<std::int64_t>::max()}) {
    const auto forward = run_forward<kla>(omp{2}, p, every);
    CHECK(difference(run_backward<kla>(omp{2, 10}, p, &forward, every).in_bar, expected.in_bar) < 1e-12);
  }
}

}  // namespace
}  // namespace backward_tests
