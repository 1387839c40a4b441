// SPDX-License-Identifier: MIT
// The filter on small matrices, as the device runs it, against the long double oracle.
#include <doctest/doctest.h>

#include <kalscan/kalman/series/forecast_traversal.hpp>
#include <kalscan/kalman/functions/model.hpp>
#include <kalscan/kalman/small/filtering.hpp>
#include <kalscan/kalman/small/smoothing.hpp>
#include <algorithm>
#include <random>

#include "device_chunks.hpp"
#include "functions_of.hpp"
#include "oracle.hpp"
#include "quad_oracle.hpp"
#include "small_models.hpp"

namespace small_tests {
namespace {

using small_models::problem_type, small_models::problem_of, small_models::matrix_of, small_models::compare,
    small_models::compare_digits;
using kalscan::small_matrix, kalscan::small_symmetric, kalscan::small_vector, kalscan::small_belief;

template <class T, int N, int M>
void check(const oracle::problem<double, Eigen::Dynamic, Eigen::Dynamic>& problem, const oracle::beliefs& expected,
           std::int64_t chunk, std::int64_t threads, double bound) {
  CAPTURE(N);
  CAPTURE(M);
  CAPTURE(chunk);
  const Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic> y = problem.y.cast<T>();
  compare(device_chunks::filter_and_smooth(functions_of<T, N, M>(problem.model), device_chunks::numbers_of<T>(y),
                                           {.longest = y.cols()}, chunk, threads),
          expected, bound);
}

template <class T, int N, int M>
void check_random_models(double bound) {
  small_models::for_random_models<N, M>([&](const auto& problem, const auto& expected, std::int64_t chunk) {
    check<T, N, M>(problem, expected, chunk, 4, bound);
  });
}

TEST_CASE("chunks of the filter and smoother on small matrices agree with the oracle") {
  check_random_models<double, 1, 1>(1e-10);
  check_random_models<double, 2, 1>(1e-10);
  check_random_models<double, 4, 2>(1e-10);
  check_random_models<double, 9, 9>(1e-10);
  check_random_models<float, 3, 2>(2e-3);
}

using dynamic_element = kalscan::matrix_filtering_element<double, Eigen::Dynamic>;

/// The same element with Eigen's matrices.
template <int N>
dynamic_element with_eigen(const kalscan::small_filtering_element<double, N>& x) {
  const auto matrix = [](const auto& a) {
    Eigen::MatrixXd b(N, N);
    for (int i = 0; i < N; ++i) {
      for (int j = 0; j < N; ++j) b(i, j) = a(i, j);
    }
    return b;
  };
  return {matrix(x.A), Eigen::Map<const Eigen::VectorXd>(x.b.x, N), matrix(x.C), Eigen::Map<const Eigen::VectorXd>(x.eta.x, N), matrix(x.J)};
}

double distance(const dynamic_element& x, const dynamic_element& y) {
  double worst = 0;
  const auto add = [&](const Eigen::MatrixXd& p, const Eigen::MatrixXd& q) { worst = std::max(worst, (p - q).norm() / (1 + q.norm())); };
  add(x.A, y.A), add(x.b, y.b), add(x.C, y.C), add(x.eta, y.eta), add(x.J, y.J);
  return worst;
}

template <int N>
kalscan::small_filtering_element<double, N> random_element(std::mt19937_64& engine) {
  using kalscan::detail::to_small;
  Eigen::MatrixXd A(N, N), b(N, 1), x(N, 1);
  oracle::fill_normal(A, engine), oracle::fill_normal(b, engine), oracle::fill_normal(x, engine);
  const auto rank = [&] { return static_cast<Eigen::Index>(engine() % (N + 1)); };
  const Eigen::MatrixXd C = oracle::random_covariance(N, rank(), engine), J = oracle::random_covariance(N, rank(), engine);
  const Eigen::MatrixXd eta = J * x;
  return {to_small<small_matrix<double, N, N>>(A), to_small<small_vector<double, N>>(b),
          to_small<small_symmetric<double, N>>(C), to_small<small_vector<double, N>>(eta),
          to_small<small_symmetric<double, N>>(J)};
}

template <int N>
void check_operator() {
  CAPTURE(N);
  using element = kalscan::small_filtering_element<double, N>;
  std::mt19937_64 engine(N);
  const kalscan::small_filtering_monoid<double, N> m;
  const kalscan::matrix_filtering_monoid<double, Eigen::Dynamic> with_matrices{N};
  double off = 0, identity = 0;
  for (int trial = 0; trial < 200; ++trial) {
    const auto x = random_element<N>(engine), y = random_element<N>(engine), z = random_element<N>(engine);
    const auto far = [&](const element& a, const element& b) { off = std::max(off, distance(with_eigen(a), with_eigen(b))); };
    off = std::max(off, distance(with_eigen(m(x, y)), with_matrices(with_eigen(x), with_eigen(y))));
    far(m(m(x, y), z), m(x, m(y, z)));
    identity = std::max({identity, distance(with_eigen(m(x, m.identity())), with_eigen(x)),
                         distance(with_eigen(m(m.identity(), x)), with_eigen(x))});
    const small_belief<double, N> s{z.b, z.C}, after = act(m(x, y), s), twice = act(y, act(x, s));
    far({{}, after.mean, after.covariance, {}, {}}, {{}, twice.mean, twice.covariance, {}, {}});
    const auto back = act_backward(x, act_backward(y, {z.eta, z.J}));
    const element all = m(x, m(y, z));
    far({{}, {}, {}, back.eta, back.J}, {{}, {}, {}, all.eta, all.J});
  }
  CHECK(off < 1e-9);
  CHECK(identity < 1e-12);
}

/// Stretches under a diffuse prior, of which the first may begin the series, and beliefs of any number of directions.
template <int N>
void check_diffuse_operator() {
  CAPTURE(N);
  using stretch = kalscan::small_diffuse_element<double, N>;
  using belief = kalscan::small_diffuse_belief<double, N>;
  std::mt19937_64 engine(N);
  const kalscan::small_diffuse_monoid<double, N> m;
  const auto far = [](const belief& a, const belief& b) {
    const auto diffuse = [](const belief& x) {
      return kalscan::detail::congruence(kalscan::detail::directions_of(x), kalscan::detail::to_small<small_symmetric<double, N>>(
                                                           kalscan::detail::identity_matrix<double, N>()), {});
    };
    const auto with_covariances = [&](const belief& x) {
      return with_eigen(kalscan::small_filtering_element<double, N>{
          {}, x.mean, kalscan::detail::covariance_of(x), {}, diffuse(x)});
    };
    return distance(with_covariances(a), with_covariances(b));
  };
  double off = 0;
  int proper = 0, improper = 0;
  for (int trial = 0; trial < 200; ++trial) {
    const stretch x{random_element<N>(engine)}, y{random_element<N>(engine)};
    const auto prior = random_element<N>(engine);
    belief s{prior.b, prior.C, prior.A};
    for (auto unknown = static_cast<int>(engine() % (N + 1)); unknown < N; ++unknown) {
      for (int i = 0; i < N; ++i) s.directions(i, unknown) = 0;
    }
    const stretch first = stretch::beginning(s);
    const belief nothing = kalscan::all_diffuse<double, N>(), after = act(y, act(x, s));
    ++(kalscan::detail::has_directions(after) ? improper : proper);
    off = std::max({off, far(act(m(x, y), s), after), far(act(m(m(first, x), y), nothing), after),
                    far(act(m(first, m(x, y)), nothing), after), far(act(m(y, m(first, x)), nothing), act(x, s)),
                    far(act(m(m.identity(), first), nothing), s), far(act(m(first, m.identity()), nothing), s)});
  }
  CHECK(off < 1e-8);
  CHECK(proper > 20);
  CHECK(improper > 20);
}

TEST_CASE("stretches under a diffuse prior are a monoid that acts on beliefs which are diffuse in part") {
  check_diffuse_operator<1>();
  check_diffuse_operator<2>();
  check_diffuse_operator<4>();
}

TEST_CASE("the operator on small matrices is Eigen's, and the laws hold for elements of any rank") {
  check_operator<1>();
  check_operator<2>();
  check_operator<4>();
}

TEST_CASE("information of any rank keeps its digits where a leading part of it is nearly singular") {
  // Two readings, x_0 + x_1 and x_2 + e x_0: the leading 2 x 2 determinant of their information is e^2.
  for (const double e : {1e-9, 1e-7, 3e-7, 1e-5, 1e-3}) {
    CAPTURE(e);
    const Eigen::MatrixXd H{{1, 1, 0}, {e, 0, 1}};
    const Eigen::VectorXd y{{3, -2}}, eta = H.transpose() * y;
    const Eigen::MatrixXd J = H.transpose() * H, P = (J + Eigen::MatrixXd::Identity(3, 3)).inverse();
    const kalscan::small_filtering_element<double, 3> x{kalscan::detail::identity_matrix<double, 3>(), {}, {},
                                         kalscan::detail::to_small<small_vector<double, 3>>(eta),
                                         kalscan::detail::to_small<small_symmetric<double, 3>>(J)};
    const small_belief<double, 3> before{
        {}, kalscan::detail::to_small<small_symmetric<double, 3>>(Eigen::MatrixXd::Identity(3, 3))};
    const auto after = act(x, before);
    const Eigen::VectorXd mean = P * eta;
    double off = 0;
    for (int i = 0; i < 3; ++i) {
      off = std::max(off, std::abs(after.mean(i) - mean(i)));
      for (int j = 0; j < 3; ++j) off = std::max(off, std::abs(after.covariance(i, j) - P(i, j)));
    }
    CHECK(off < 1e-12);
  }
}

/// In standard deviations of each component, against 113-bit arithmetic. Smoothed beliefs where Q is regular.
template <int N, int M>
void check_digits(const std::string& name, const problem_type& p, bool regular, double bound) {
  CAPTURE(name);
  const auto expected = quad::run(p.model, p.y, regular);
  for (const std::int64_t chunk : {3, 16, 1000}) {
    CAPTURE(chunk);
    compare_digits(device_chunks::filter_and_smooth(functions_of<double, N, M>(p.model),
                                                    device_chunks::numbers_of<double>(p.y), {.longest = p.y.cols()},
                                                    chunk, 4),
                   expected, regular, bound);
  }
}

TEST_CASE("models that joint formulas lose keep their digits in chunks") {
  small_models::for_each_that_joint_formulas_lose([](auto n, auto m, const auto&... x) { check_digits<decltype(n)::value, decltype(m)::value>(x...); });
}

TEST_CASE("what is read without noise is known, where noise of the state comes before each reading") {
  const auto diagonal = [](auto... x) { return Eigen::MatrixXd(matrix_of(sizeof...(x), 1, x...).col(0).asDiagonal()); };
  const auto p = problem_of(matrix_of(2, 2, 1, 1, 0, 1), 0.1 * matrix_of(2, 2, 1. / 3, .5, .5, 1), matrix_of(1, 2, 1, 0), diagonal(0), 10, 300);
  const auto expected = oracle::run(p.model, p.y);
  for (const std::int64_t chunk : {3, 16, 1000}) check<double, 2, 1>(p, expected, chunk, 4, 1e-10);

  // A state at rest that is read twice: a chunk that begins in between has no finite information.
  const auto rest = problem_of(diagonal(1, 1), diagonal(0, 0), matrix_of(1, 2, 1, 0), diagonal(0), 10, 30);
  auto same = rest;
  same.y.setConstant(0.5);
  struct trial {
    const problem_type& problem;
    std::int64_t chunk, step;
    kalscan::step_failure reason;
  };
  for (const trial& x : {trial{same, 30, -1, kalscan::step_failure::none}, trial{same, 10, 10, kalscan::step_failure::carry},
                         trial{rest, 30, 1, kalscan::step_failure::contradiction}}) {
    CAPTURE(x.chunk);
    const auto r = device_chunks::filter_and_smooth(functions_of<double, 2, 1>(x.problem.model), device_chunks::numbers_of<double>(x.problem.y),
                                                    {.longest = 30}, x.chunk, 4);
    CHECK(r.filtered[0].reason() == x.reason);
    if (x.reason != kalscan::step_failure::none) CHECK(r.filtered[0].step() == x.step);
  }
}

TEST_CASE("a forecast is what the filter says of as many missing steps, with the noise of y") {
  const auto problem = oracle::draw_problem(4, 2, 30, {.varying = true, .inputs = true}, 3);
  const auto model = functions_of<double, 4, 2>(problem.model);
  auto gap = problem;
  gap.y.rightCols(10).setConstant(std::numeric_limits<double>::quiet_NaN());
  const auto r = device_chunks::filter_and_smooth(model, device_chunks::numbers_of<double>(gap.y), {.longest = 30}, 30, 1);
  std::vector<double> mean(40), covariance(160), y_mean(20), y_covariance(40);
  std::vector<kalscan::filter_status> status(1);
  const Eigen::VectorXd last = r.mean.col(19);
  const Eigen::MatrixXd P = r.covariance[19];
  const kalscan::detail::forecast_traversal<std::remove_const_t<decltype(model)>> x{
      model, {.longest = 20}, last.data(), P.data(), {mean, covariance, y_mean, y_covariance, status}, 10};
  kalscan::detail::replay_chunk(x, 0, 0, x.start(0));
  CHECK(status[0].ok());
  for (Eigen::Index k = 0; k < 10; ++k) {
    const auto& p = problem.model;
    CHECK((Eigen::Map<Eigen::Vector4d>(mean.data() + 4 * k) - r.mean.col(20 + k)).norm() < 1e-12);
    CHECK((Eigen::Map<Eigen::Matrix4d>(covariance.data() + 16 * k) - r.covariance[static_cast<std::size_t>(20 + k)]).norm() < 1e-12);
    const Eigen::MatrixXd H = p.H[20 + k], S = H * r.covariance[static_cast<std::size_t>(20 + k)] * H.transpose() + p.R[20 + k];
    const Eigen::VectorXd y = H * r.mean.col(20 + k) + p.D[20 + k] * p.u.col(20 + k);
    CHECK((Eigen::Map<Eigen::Vector2d>(y_mean.data() + 2 * k) - y).norm() < 1e-11);
    CHECK((Eigen::Map<Eigen::Matrix2d>(y_covariance.data() + 4 * k) - S).norm() < 1e-11);
  }
}

TEST_CASE("a kalman_model of constant matrices is taken as it is, and others are refused") {
  using model_type = kalscan::kalman_model<double, 2, 1>;
  using prior = kalscan::gaussian_prior<double, 2>;
  const Eigen::Matrix2d F{{1, 1}, {0, 0.5}}, Q{{2, 1}, {1, 3}}, P{{5, 2}, {2, 4}};
  const Eigen::RowVector2d H{1, -1};
  model_type model{F, Q, H, Eigen::Matrix<double, 1, 1>(7), prior::before_first_step(Eigen::Vector2d(1, 2), P)};
  const auto x = kalscan::constant_model(model);
  const auto [f, q] = x.transition(0, 0);
  const auto [h, r] = x.observation(0, 0);
  CHECK(x.before_first_transition);
  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 2; ++j) {
      CHECK(f(i, j) == F(i, j));
      CHECK(q(i, j) == Q(i, j));
      CHECK(x.prior(0).covariance(i, j) == P(i, j));
    }
    CHECK(h(0, i) == H(i));
  }
  CHECK(r(0, 0) == 7);
  const auto refused = [](auto change, model_type changed) {
    change(changed);
    CHECK_THROWS_AS(static_cast<void>(kalscan::constant_model(changed)), std::invalid_argument);
  };
  refused([&](model_type& m) { m.Q = std::vector<Eigen::Matrix2d>(3, Q); }, model);
  refused([&](model_type& m) { m.prior = prior::all_diffuse(); }, model);
  refused([&](model_type& m) { m.B = Eigen::Matrix<double, 2, Eigen::Dynamic>(Eigen::Matrix<double, 2, 1>::Ones()); }, model);
}

TEST_CASE("a constant model whose covariance settles keeps its digits, with gaps, offsets and single readings missing") {
  auto drawn = oracle::draw_problem(4, 2, 400, {}, 5);
  drawn.model.R = Eigen::MatrixXd(matrix_of(2, 2, 1, 0.5, 0.5, 2));
  for (const Eigen::Index t : {60, 61, 62, 200, 330}) drawn.y(t % 2, t) = std::numeric_limits<double>::quiet_NaN();
  drawn.y.middleCols(210, 9).setConstant(std::numeric_limits<double>::quiet_NaN());
  const auto expected = oracle::run(drawn.model, drawn.y);
  const auto model = kalscan::constant_model(oracle::convert<double, 4, 2>(drawn.model));
  static_assert(decltype(model)::constant);
  for (const std::int64_t chunk : {16, 50, 400}) {
    CAPTURE(chunk);
    const auto r = device_chunks::filter_and_smooth(model, device_chunks::numbers_of<double>(drawn.y), {.longest = 400}, chunk, 8);
    compare(r, expected, 1e-13);
    int same = 0;
    for (std::size_t t = 1; t < r.covariance.size(); ++t) same += r.covariance[t] == r.covariance[t - 1];
    CHECK(same > 200);  // it did settle
  }
}

TEST_CASE("a covariance that stands still because nothing is seen has not settled") {
  auto p = problem_of(Eigen::Matrix2d::Identity(), Eigen::Matrix2d::Zero(), matrix_of(1, 2, 1, 0), matrix_of(1, 1, 0.5), 2, 60);
  p.y.leftCols(5).setConstant(std::numeric_limits<double>::quiet_NaN());
  const auto expected = oracle::run(p.model, p.y);
  const auto model = kalscan::constant_model(oracle::convert<double, 2, 1>(p.model));
  const auto r = device_chunks::filter_and_smooth(model, device_chunks::numbers_of<double>(p.y), {.longest = 60}, 60, 1);
  CHECK(oracle::defect(r.mean, r.covariance, expected.mean, expected.covariance) < 1e-13);
}

TEST_CASE("series end at their offsets, and at the longest length that was announced") {
  const std::int64_t offsets[] = {0, 3, 3, 12};
  const kalscan::series_layout ragged{.longest = 5, .count = 3, .offsets = offsets}, equal{.longest = 4, .count = 2};
  CHECK(ragged.length(0) == 3);
  CHECK(ragged.length(1) == 0);
  CHECK(ragged.length(2) == 5);
  CHECK(ragged.begin(2) == 3);
  CHECK(equal.length(1) == 4);
  CHECK(equal.begin(1) == 4);
}

}  // namespace
}  // namespace small_tests
