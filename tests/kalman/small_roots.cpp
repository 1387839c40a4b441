// SPDX-License-Identifier: MIT
// The square-root form on small matrices, as the device runs it, against the oracles and Eigen's operator.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <kalscan/kalman/function_filter.hpp>
#include <kalscan/kalman/functions/square_root.hpp>
#include <kalscan/kalman/small/roots.hpp>
#include <kalscan/kalman/small/square_root.hpp>
#include <limits>
#include <random>
#include <vector>

#include "../errors.hpp"
#include "../instrument.hpp"
#include "device_chunks.hpp"
#include "functions_of.hpp"
#include "oracle.hpp"
#include "quad_oracle.hpp"
#include "rank_deficient.hpp"
#include "small_models.hpp"

namespace small_roots_tests {
namespace {

using kalscan::small_matrix, kalscan::small_symmetric, kalscan::small_vector, kalscan::small_lower;
using small_models::problem_of, small_models::matrix_of;
constexpr double unknown = std::numeric_limits<double>::quiet_NaN();

template <class X>
auto with_eigen(const X& x) {
  Eigen::Matrix<typename X::value_type, X::rows, X::columns> y;
  for (int i = 0; i < X::rows; ++i) {
    for (int j = 0; j < X::columns; ++j) y(i, j) = x(i, j);
  }
  return y;
}

template <int N>
Eigen::Matrix<double, N, N> random_square(std::mt19937_64& engine) {
  Eigen::Matrix<double, N, N> x;
  oracle::fill_normal(x, engine);
  for (int i = 0; i < N; ++i) {
    if (engine() % 4 == 0) x.row(i).setZero();
    if (engine() % 4 == 0) x.col(i).setZero();
    if (engine() % 4 == 0) x.row(i) *= 1e-9;
  }
  return x;
}

template <int N>
void check_roots() {
  CAPTURE(N);
  std::mt19937_64 engine(N);
  using kalscan::detail::to_small;
  const auto is_root = [](const auto& root, const auto& P, double bound) {
    const auto U = with_eigen(root);
    bool all = true;
    // Each entry relative to the deviations of its row and column: units do not matter.
    for (int i = 0; i < N; ++i) {
      for (int j = 0; j < N; ++j)
        all = all && std::abs((U * U.transpose())(i, j) - P(i, j)) <= bound * std::sqrt(P(i, i) * P(j, j));
      all = all && U(i, i) >= 0;
    }
    return all;
  };
  int sums = 0, covariances = 0;
  for (int trial = 0; trial < 300; ++trial) {
    const auto X = random_square<N>(engine), Y = random_square<N>(engine);
    const Eigen::Matrix<double, N, N> L = Y.template triangularView<Eigen::Lower>(),
                                      sum = X * X.transpose() + L * L.transpose(), P = X * X.transpose();
    sums += is_root(
        kalscan::detail::root_of_sum(to_small<small_matrix<double, N, N>>(X), to_small<small_lower<double, N>>(L)), sum,
        1e-14);
    covariances += is_root(kalscan::detail::root_of<double>(to_small<small_symmetric<double, N>>(P)), P, 1e-13);
  }
  CHECK(sums == 300);
  CHECK(covariances == 300);
}

template <int N>
kalscan::small_root_element<double, N> random_element(std::mt19937_64& engine) {
  using kalscan::detail::to_small;
  Eigen::Matrix<double, N, N> A, U, Z;
  Eigen::Vector<double, N> b, w;
  oracle::fill_normal(A, engine), oracle::fill_normal(U, engine), oracle::fill_normal(Z, engine);
  oracle::fill_normal(b, engine), oracle::fill_normal(w, engine);
  const auto of_any_rank = [&](auto& x) { x.rightCols(static_cast<Eigen::Index>(engine() % (N + 1))).setZero(); };
  of_any_rank(U), of_any_rank(Z);
  A *= 0.95 / A.norm();
  return {to_small<small_matrix<double, N, N>>(A), to_small<small_vector<double, N>>(b),
          to_small<small_lower<double, N>>(U), to_small<small_lower<double, N>>(Z),
          to_small<small_vector<double, N>>(w)};
}

/// Roots are free up to a rotation: what counts is U U', Z Z' and Z w.
template <class X, class Y>
double apart(const X& x, const Y& y) {
  const auto far = [](const auto& p, const auto& q) { return (p - q).norm() / (1 + p.norm()); };
  return std::max({far(x.A, y.A), far(x.b, y.b), far((x.U * x.U.transpose()).eval(), (y.U * y.U.transpose()).eval()),
                   far((x.Z * x.Z.transpose()).eval(), (y.Z * y.Z.transpose()).eval()),
                   far((x.Z * x.w).eval(), (y.Z * y.w).eval())});
}
template <int N>
kalscan::square_root_element<double, N> with_eigen(const kalscan::small_root_element<double, N>& x) {
  return {with_eigen(x.A), with_eigen(x.b), with_eigen(x.U), with_eigen(x.Z), with_eigen(x.w)};
}

template <int N>
void check_operator() {
  CAPTURE(N);
  using element = kalscan::small_root_element<double, N>;
  const auto distance = [](const element& x, const element& y) { return apart(with_eigen(x), with_eigen(y)); };
  const kalscan::small_root_monoid<double, N> m;
  std::mt19937_64 engine(N);
  double off = 0;
  for (int trial = 0; trial < 100; ++trial) {
    const element x = random_element<N>(engine), y = random_element<N>(engine), z = random_element<N>(engine);
    off = std::max({off, distance(m(m(x, y), z), m(x, m(y, z))), distance(m(x, m.identity()), x),
                    distance(m(m.identity(), x), x)});
    off = std::max(off,
                   apart(with_eigen(m(x, y)), kalscan::square_root_monoid<double, N>{N}(with_eigen(x), with_eigen(y))));
    const kalscan::small_root_belief<double, N> s{z.b, z.U}, after = act(m(x, y), s), twice = act(y, act(x, s));
    off = std::max(off, distance({{}, after.mean, after.root, {}, {}}, {{}, twice.mean, twice.root, {}, {}}));
    const auto back = act_backward(x, act_backward(y, {z.Z, z.w}));
    const element all = m(x, m(y, z));
    off = std::max(off, distance({{}, {}, {}, back.Z, back.w}, {{}, {}, {}, all.Z, all.w}));
  }
  CHECK(off < 1e-11);
}

template <class T, int N, int M>
void check(const small_models::problem_type& problem, const oracle::beliefs& expected, std::int64_t chunk,
           std::int64_t threads, double bound) {
  CAPTURE(N);
  CAPTURE(M);
  CAPTURE(chunk);
  const Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic> y = problem.y.cast<T>();
  const kalscan::square_root model{functions_of<T, N, M>(problem.model)};
  const auto r =
      device_chunks::filter_and_smooth(model, device_chunks::numbers_of<T>(y), {.longest = y.cols()}, chunk, threads);
  small_models::compare(r, expected, bound);
  CHECK(r.final_covariance_root[0] == r.covariance_root.back());
  for (std::size_t t = 0; t < r.covariance.size(); ++t) {
    const auto& U = r.covariance_root[t];
    CHECK(U.isLowerTriangular(0));
    CHECK((U * U.transpose() - r.covariance[t]).norm() <=
          4 * std::numeric_limits<T>::epsilon() * r.covariance[t].norm());
    CHECK((r.smoothed_covariance[t].diagonal().array() <=
           r.covariance[t].diagonal().array() * (1 + 100 * std::numeric_limits<T>::epsilon()))
              .all());
  }
}

template <class T, int N, int M>
void check_random_models(double bound) {
  small_models::for_random_models<N, M>([&](const auto& problem, const auto& expected, std::int64_t chunk) {
    check<T, N, M>(problem, expected, chunk, 4, bound);
  });
}

template <int N, int M>
void check_digits(const std::string& name, const small_models::problem_type& p, bool regular, double bound) {
  CAPTURE(name);
  const auto expected = quad::run(p.model, p.y, regular);
  const kalscan::square_root model(functions_of<double, N, M>(p.model));
  for (const std::int64_t chunk : {3, 16, 1000}) {
    CAPTURE(chunk);
    small_models::compare_digits(device_chunks::filter_and_smooth(model, device_chunks::numbers_of<double>(p.y),
                                                                  {.longest = p.y.cols()}, chunk, 4),
                                 expected, regular, bound);
  }
}

}  // namespace

TEST_CASE("small roots are those of covariances and of sums, whatever their rank and units") {
  check_roots<1>();
  check_roots<2>();
  check_roots<3>();
  check_roots<5>();
  const auto indefinite = kalscan::detail::root_of<double>(small_symmetric<double, 2>{{1, 2, 1}});
  CHECK(std::isnan(indefinite(0, 0) + indefinite(1, 1)));
  const auto without = kalscan::detail::root_of<double>(small_symmetric<double, 2>{{1, unknown, 1}});
  CHECK(std::isnan(without(0, 0) + without(1, 1)));
  // What is given in float has the rounding of float, also where its root is wanted in double.
  std::mt19937_64 engine(1);
  std::uniform_real_distribution<float> draw(0.5F, 2);
  int of_rank_one = 0;
  for (int trial = 0; trial < 100; ++trial) {
    const float a = draw(engine), b = draw(engine);
    of_rank_one += kalscan::detail::root_of<double>(small_symmetric<float, 2>{{a * a, a * b, b * b}})(1, 1) <= 0;
  }
  CHECK(of_rank_one == 100);
}

TEST_CASE("the square-root operator on small matrices is Eigen's, and the laws hold for elements of any rank") {
  check_operator<1>();
  check_operator<2>();
  check_operator<4>();
}

TEST_CASE("chunks of filter and smoother in square-root form agree with the oracle") {
  check_random_models<double, 1, 1>(1e-11);
  check_random_models<double, 2, 1>(1e-11);
  check_random_models<double, 4, 2>(1e-11);
  check_random_models<double, 9, 9>(1e-11);
  check_random_models<float, 3, 2>(5e-5);
}

TEST_CASE("models that joint formulas lose keep their digits in chunks in square-root form") {
  small_models::for_each_that_joint_formulas_lose(
      [](auto n, auto m, const auto&... x) { check_digits<decltype(n)::value, decltype(m)::value>(x...); });
}

TEST_CASE("a Q that is a value is factored once, with the results of one that is given per step") {
  const auto drawn = oracle::draw_problem(3, 2, 60, {.singular_noise = true, .missing = true}, 12);
  const auto per_step = functions_of<double, 3, 2>(drawn.model);
  const auto constant = kalscan::constant_model(oracle::convert<double, 3, 2>(drawn.model));
  static_assert(decltype(constant)::constant);
  const auto y = device_chunks::numbers_of<double>(drawn.y);
  for (const std::int64_t chunk : {7, 60}) {
    const auto a = device_chunks::filter_and_smooth(kalscan::square_root{constant}, y, {.longest = 60}, chunk, 4);
    const auto b = device_chunks::filter_and_smooth(kalscan::square_root{per_step}, y, {.longest = 60}, chunk, 4);
    CHECK(a.mean == b.mean);
    CHECK(a.smoothed_mean == b.smoothed_mean);
    CHECK(a.covariance_root == b.covariance_root);
    CHECK(a.log_likelihood == b.log_likelihood);
  }
}

TEST_CASE("asking for the square-root form looks at a Q that is a value, and at nothing that may lie on a device") {
  int looked = 0;
  const auto F = [&looked](std::int64_t) {
    ++looked;
    return kalscan::small_matrix<double, 1, 1>{{1}};
  };
  using one = kalscan::small_symmetric<double, 1>;
  const kalscan::square_root model{
      kalscan::model_of<double, 1, 1>(F, one{{4}}, kalscan::small_matrix<double, 1, 1>{{1}}, one{{1}},
                                      kalscan::small_belief<double, 1>{{{0}}, {{1}}})};
  CHECK(looked == 0);
  CHECK(model.noise<double>().x[0] == 2);
}

// Digits, over so many steps that an instrument takes a minute: it has seen the same code at work above.
TEST_CASE("20,000 steps with a rank-deficient Q in chunks: roots keep the digits of the log-likelihood" *
          doctest::skip(under_an_instrument())) {
  const auto y = rank_deficient::random_walk(20'000);
  auto drawn = rank_deficient::pushed_along_a_diagonal<double, 4, 2>();
  drawn.Q = Eigen::Matrix4d(Eigen::Matrix4d::Constant(0.1));
  const auto expected = quad::run(drawn, kalscan::observations<double, 2>(y), false);
  const auto model = kalscan::constant_model(drawn);
  const auto run = [&](const auto& form, std::int64_t chunk) {
    return device_chunks::filter_and_smooth(form, device_chunks::numbers_of<double>(y), {.longest = y.cols()}, chunk,
                                            64);
  };
  const auto error = [&](const auto& r) {
    return std::abs(static_cast<double>(r.log_likelihood[0] - expected.log_likelihood));
  };
  const kalscan::square_root form{model};
  // Of -981,061. An element counts states from zero, and what is known of their differences is 10^-9 of them.
  for (const std::int64_t chunk : {4, 50, 1000, 20'000}) {
    CAPTURE(chunk);
    const auto r = run(form, chunk);
    CHECK(error(r) < (chunk < 1000 ? 1e-4 : 1e-5));
    CHECK(quad::error_in_deviations(r.mean, r.covariance, expected.mean, expected.covariance) < 1e-8);
  }
  CHECK(error(run(model, 20'000)) > 1e-2);
}

TEST_CASE("20,000 steps in float in chunks: roots follow where covariances are lost" *
          doctest::skip(under_an_instrument())) {
  const kalscan::square_root model{kalscan::constant_model(rank_deficient::pushed_along_a_diagonal<float, 4, 2>())};
  const auto check = [&](const auto& y, std::int64_t chunk, double bound, double relative) {
    CAPTURE(chunk);
    const auto expected = quad::run(rank_deficient::pushed_along_a_diagonal<double>(), y, false);
    const auto r = device_chunks::filter_and_smooth(
        model, device_chunks::numbers_of<float>(y.template cast<float>().eval()), {.longest = y.cols()}, chunk, 64);
    CHECK(quad::error_in_deviations(r.mean, r.covariance, expected.mean, expected.covariance) < bound);
    CHECK(std::abs(static_cast<double>(r.log_likelihood[0] / expected.log_likelihood) - 1) < relative);
    for (const auto& P : r.covariance) CHECK(P.diagonal().minCoeff() >= 0);
  };
  const auto likely = rank_deficient::likely_walk(20'000), surprising = rank_deficient::random_walk(20'000);
  check(likely, 20'000, 0.02, 1e-5);  // of float alone
  for (const std::int64_t chunk : {4, 50}) {
    check(likely, chunk, 0.02, 1e-5);
    check(surprising, chunk, 0.02, 1e-4);  // innovations of eight deviations
  }
}

TEST_CASE("what only all of the data tell to a millionth of the prior's deviation is smoothed in float in chunks") {
  const std::int64_t length = unless_slow(6000, 1000);
  auto y = rank_deficient::random_walk(length);
  std::mt19937_64 engine(9);
  std::normal_distribution<double> normal;
  for (auto& value : y.reshaped()) value = static_cast<float>(2.6 * normal(engine));
  const auto expected = quad::run(rank_deficient::pushed_along_a_diagonal<double>(), y, true);
  const kalscan::square_root model{kalscan::constant_model(rank_deficient::pushed_along_a_diagonal<float, 4, 2>())};
  for (const std::int64_t chunk : {std::int64_t{4}, std::int64_t{100}, length}) {
    CAPTURE(chunk);
    const auto r = device_chunks::filter_and_smooth(model, device_chunks::numbers_of<float>(y.cast<float>().eval()),
                                                    {.longest = y.cols()}, chunk, 64);
    CHECK(quad::error_in_deviations(r.smoothed_mean, r.smoothed_covariance, expected.smoothed_mean,
                                    expected.smoothed_covariance) < 0.02);
  }
}

TEST_CASE("an unstable state without noise is smoothed in chunks of roots over any number of steps") {
  const auto check = [](auto number, double tolerance) {
    using T = decltype(number);
    const auto model =
        kalscan::model_of<T, 1, 1>(small_matrix<T, 1, 1>{{2}}, small_symmetric<T, 1>{{0}}, small_matrix<T, 1, 1>{{1}},
                                   small_symmetric<T, 1>{{1}}, kalscan::small_belief<T, 1>{{{0}}, {{1}}});
    for (const std::int64_t chunk : {5, 100, 3000}) {
      const auto r = device_chunks::filter_and_smooth(kalscan::square_root{model}, std::vector<T>(3000, T(0)),
                                                      {.longest = 3000}, chunk, 4);
      CHECK(r.smoothed[0].ok());
      CHECK(r.smoothed_mean.cwiseAbs().maxCoeff() == 0);
      CHECK(r.smoothed_covariance.back()(0, 0) == doctest::Approx(0.75).epsilon(tolerance));
      CHECK(r.smoothed_covariance[2998](0, 0) == doctest::Approx(0.1875).epsilon(tolerance));
      for (std::size_t t = 0; t < 2900; ++t) CHECK(r.smoothed_covariance[t](0, 0) < static_cast<T>(tolerance));
    }
  };
  check(1.0, 1e-12);
  check(1.0F, 1e-5);
}

TEST_CASE("beside an unstable state without noise another is smoothed as if it were alone") {
  const auto y = [] {
    std::vector<double> values;
    for (int t = 0; t < 1000; ++t) values.push_back(std::sin(0.3 * t));
    return values;
  }();
  const auto both = kalscan::model_of<double, 2, 1>(small_matrix<double, 2, 2>{{2, 0.3, 0, 0.9}},
                                                    small_symmetric<double, 2>{{0, 0, 0.1}},
                                                    small_matrix<double, 1, 2>{{1, 1}}, small_symmetric<double, 1>{{1}},
                                                    kalscan::small_belief<double, 2>{{}, {{1, 0, 1}}});
  const auto one = kalscan::model_of<double, 1, 1>(small_matrix<double, 1, 1>{{0.9}}, small_symmetric<double, 1>{{0.1}},
                                                   small_matrix<double, 1, 1>{{1}}, small_symmetric<double, 1>{{1}},
                                                   kalscan::small_belief<double, 1>{{}, {{1}}});
  const auto r = device_chunks::filter_and_smooth(kalscan::square_root{both}, y, {.longest = 1000}, 1000, 1);
  const auto alone = device_chunks::filter_and_smooth(kalscan::square_root{one}, y, {.longest = 1000}, 1000, 1);
  CHECK(r.smoothed[0].ok());
  CHECK((r.smoothed_mean.row(1) - alone.smoothed_mean.row(0)).leftCols(900).cwiseAbs().maxCoeff() < 1e-12);
  for (std::size_t t = 0; t < 900; ++t)
    CHECK(std::abs(r.smoothed_covariance[t](1, 1) - alone.smoothed_covariance[t](0, 0)) < 1e-12);
}

TEST_CASE("readings without noise in chunks of roots: known, told where that has no finite summary, and contradicted") {
  const auto diagonal = [](double x, double y) { return Eigen::MatrixXd(Eigen::Vector2d(x, y).asDiagonal()); };
  const Eigen::MatrixXd position = matrix_of(1, 2, 1, 0), none = matrix_of(1, 1, 0);
  const auto moved =
      problem_of(matrix_of(2, 2, 1, 1, 0, 1), 0.1 * matrix_of(2, 2, 1. / 3, .5, .5, 1), position, none, 10, 300);
  const auto expected = oracle::run(moved.model, moved.y);
  for (const std::int64_t chunk : {3, 16, 1000}) check<double, 2, 1>(moved, expected, chunk, 4, 1e-10);
  // A state at rest that is read twice: a chunk that begins in between has no finite information.
  const auto rest = problem_of(diagonal(1, 1), diagonal(0, 0), position, none, 10, 30);
  auto same = rest;
  same.y.setConstant(0.5);
  const auto run = [](const small_models::problem_type& p, std::int64_t chunk) {
    return device_chunks::filter_and_smooth(kalscan::square_root{functions_of<double, 2, 1>(p.model)},
                                            device_chunks::numbers_of<double>(p.y), {.longest = 30}, chunk, 4)
        .filtered[0];
  };
  CHECK(run(same, 30).ok());
  CHECK(run(same, 10).reason() == kalscan::step_failure::carry);
  CHECK(run(same, 10).step() == 10);
  CHECK(run(rest, 30).reason() == kalscan::step_failure::contradiction);
  CHECK(run(rest, 30).step() == 1);
}

TEST_CASE("the back ends of the host take the square-root form, and go on from its last roots") {
  const auto problem = oracle::draw_problem(3, 2, 60, {.varying = true, .inputs = true, .missing = true}, 81);
  const auto functions = functions_of<double, 3, 2>(problem.model);
  const kalscan::square_root model{functions};
  const auto y = device_chunks::numbers_of<double>(Eigen::MatrixXd(problem.y));
  using numbers = std::vector<double>;
  numbers mean(180, unknown), root(540, unknown), smoothed(180, unknown), spread(540, unknown), sum(1);
  const auto expected = device_chunks::filter_and_smooth(model, y, {.longest = 60}, 60, 1);
  for (const kalscan::omp& p : {kalscan::omp{1, 100}, kalscan::omp{3, 7}}) {
    filter(p, model, y, {.mean = mean, .log_likelihood = sum, .covariance_root = root});
    smooth(p, model, y, {.mean = mean, .covariance_root = root}, {smoothed, spread});
    const auto off = [](const numbers& x, const auto& other) {
      double worst = 0;
      for (std::size_t i = 0; i < x.size(); ++i) worst = std::max(worst, std::abs(x[i] - other.data()[i]));
      return worst;
    };
    CHECK(off(mean, expected.mean) < 1e-12);
    CHECK(off(smoothed, expected.smoothed_mean) < 1e-12);
    CHECK(std::abs(sum[0] - expected.log_likelihood[0]) < 1e-10);
    CHECK(log_likelihood(p, model, y) == sum[0]);
  }

  // In two parts: the last belief of one is the prior of the other.
  const std::int64_t offsets[] = {0, 25};
  numbers last_mean(3), last_root(9), rest(35 * 3);
  filter(kalscan::seq{}, model, y, {.longest = 25, .offsets = offsets},
         {.final_mean = last_mean, .final_covariance_root = last_root});
  const kalscan::small_root_belief<double, 3> last{kalscan::detail::load<small_vector<double, 3>>(last_mean.data()),
                                                   kalscan::detail::load<small_lower<double, 3>>(last_root.data())};
  auto later = problem.model;
  const auto from = [](auto& steps) {
    using matrices = std::remove_cvref_t<decltype(steps)>;
    std::vector<Eigen::MatrixXd> rest_of;
    for (std::int64_t t = 25; t < 60; ++t) rest_of.push_back(steps[t]);
    steps = matrices(rest_of);
  };
  from(later.F), from(later.Q), from(later.H), from(later.R), from(later.B), from(later.D);
  later.u = Eigen::MatrixXd(problem.model.u.rightCols(35));
  later.prior.before_first_transition = true;
  const auto rest_model = functions_of<double, 3, 2>(later, last);
  const auto goes_on = [&](const auto& form) {
    filter(kalscan::seq{}, form, std::span(y).subspan(50), {.mean = rest});
    return std::equal(rest.begin(), rest.end(), expected.mean.data() + 75);
  };
  CHECK(goes_on(kalscan::square_root{rest_model}));
  CHECK(goes_on(rest_model));  // such a prior asks for the form
}

TEST_CASE("arrays of roots belong to the square-root form, whose smoother needs them") {
  const auto model = functions_of<double, 3, 2>(oracle::draw_problem(3, 2, 4, {}, 84).model);
  const std::vector<double> y(8);
  std::vector<double> mean(12), matrices(36);
  CHECK(message_of([&] { filter(kalscan::seq{}, model, y, {.covariance_root = matrices}); }) ==
        "kalscan::filter: covariance_root is given, the model is not in square-root form: give square_root{model}");
  CHECK(message_of([&] {
          filter(kalscan::seq{}, kalscan::square_root{model}, y, {.final_covariance_root = matrices});
        }) == "kalscan::filter: final_covariance_root has size 36, not 9");
  CHECK(message_of([&] {
          smooth(kalscan::seq{}, kalscan::square_root{model}, y, {.mean = mean, .covariance = matrices}, {});
        }) == "kalscan::smooth: the filtered covariance_root has size 0, not 36");
}

TEST_CASE("a Q or a prior that is no covariance is told by the status") {
  const auto run = [](small_symmetric<double, 2> Q, small_symmetric<double, 2> P) {
    const auto model =
        kalscan::model_of<double, 2, 1>(small_matrix<double, 2, 2>{{1, 0, 0, 1}}, Q, small_matrix<double, 1, 2>{{1, 0}},
                                        small_symmetric<double, 1>{{1}}, kalscan::small_belief<double, 2>{{}, P});
    return device_chunks::filter_and_smooth(kalscan::square_root{model}, std::vector<double>(9, 1.0), {.longest = 9}, 9,
                                            1)
        .filtered[0];
  };
  CHECK(run({{1, 0, 1}}, {{1, 0, 1}}).ok());
  CHECK(run({{1, 2, 1}}, {{1, 0, 1}}).step() == 1);
  CHECK(run({{1, 0, 1}}, {{1, 0, -1}}).step() == 0);
}
}  // namespace small_roots_tests
