// SPDX-License-Identifier: MIT
// The matrix filtering and smoothing elements form monoids, with fixed and dynamic sizes and singular covariances.
#include <doctest/doctest.h>

#include <Eigen/Core>
#include <Eigen/LU>
#include <cmath>
#include <random>

#include <kalscan/kalman/elements/filtering_element.hpp>
#include <kalscan/kalman/elements/smoothing_element.hpp>
#include <kalscan/kalman/scalar/filtering_element.hpp>
#include <kalscan/laws.hpp>

#include "../instrument.hpp"
#include "random.hpp"

namespace {

template <class Matrix>
Matrix normal_matrix(Eigen::Index rows, Eigen::Index columns, std::mt19937_64& engine) {
  Matrix x(rows, columns);
  for (Eigen::Index i = 0; i < x.size(); ++i) x(i) = draw::normal<typename Matrix::Scalar>(engine);
  return x;
}

/// Semi-definite, of any rank.
template <class T, int N>
Eigen::Matrix<T, N, N> semidefinite(Eigen::Index n, std::mt19937_64& engine) {
  using matrix = Eigen::Matrix<T, N, N>;
  const matrix root = normal_matrix<matrix>(n, n, engine);
  matrix x = matrix::Zero(n, n);
  const auto rank = static_cast<Eigen::Index>(engine() % static_cast<std::uint64_t>(n + 1));
  for (Eigen::Index k = 0; k < rank; ++k) x += root.col(k) * root.col(k).transpose();
  return x;
}

/// A contraction, so that products of several do not grow.
template <class T, int N>
Eigen::Matrix<T, N, N> contraction(Eigen::Index n, std::mt19937_64& engine) {
  const auto x = normal_matrix<Eigen::Matrix<T, N, N>>(n, n, engine);
  return x * (T(0.95) / x.norm());
}

/// As data make them: eta = J x for some x.
template <class T, int N>
auto filtering_elements(Eigen::Index n) {
  return [n](std::mt19937_64& engine) {
    kalscan::matrix_filtering_element<T, N> x{contraction<T, N>(n, engine), normal_matrix<Eigen::Vector<T, N>>(n, 1, engine),
                                              semidefinite<T, N>(n, engine), {}, semidefinite<T, N>(n, engine)};
    x.eta = x.J * normal_matrix<Eigen::Vector<T, N>>(n, 1, engine);
    return x;
  };
}

template <class T, int N>
auto smoothing_elements(Eigen::Index n) {
  return [n](std::mt19937_64& engine) {
    return kalscan::smoothing_element<T, N>{contraction<T, N>(n, engine), normal_matrix<Eigen::Vector<T, N>>(n, 1, engine),
                                            semidefinite<T, N>(n, engine)};
  };
}

// A combine is a factorization and some ten products of n x n matrices: a few hundred ulps of the largest entry of each
// field, over sequences of 8.
constexpr double bound = 1000;
const kalscan::law_options trials{.trials = unless_slow<std::size_t>(300, 60)};

template <class T, int N>
void check(Eigen::Index n) {
  CAPTURE(n);
  const auto filtering = kalscan::check_monoid(kalscan::matrix_filtering_monoid<T, N>{n}, filtering_elements<T, N>(n),
                                               kalscan::ulps(bound), trials);
  CHECK_MESSAGE(filtering, filtering.message());
  const auto smoothing =
      kalscan::check_monoid(kalscan::smoothing_monoid<T, N>{n}, smoothing_elements<T, N>(n), kalscan::ulps(bound), trials);
  CHECK_MESSAGE(smoothing, smoothing.message());
}

using element = kalscan::matrix_filtering_element<double, 2>;

/// The operator with one part wrong.
struct swapped : kalscan::matrix_filtering_monoid<double, 2> {
  element operator()(const element& earlier, const element& later) const {
    return kalscan::matrix_filtering_monoid<double, 2>::operator()(later, earlier);
  }
};
struct wrong_mean : kalscan::matrix_filtering_monoid<double, 2> {
  element operator()(const element& earlier, const element& later) const {
    element x = kalscan::matrix_filtering_monoid<double, 2>::operator()(earlier, later);
    x.b += 1e-9 * earlier.C * later.eta;
    return x;
  }
};

}  // namespace

TEST_CASE("matrix elements with fixed sizes form monoids up to rounding") {
  check<float, 2>(2);
  check<double, 4>(4);
}

TEST_CASE("matrix elements with dynamic sizes form monoids up to rounding") {
  for (const Eigen::Index n : {1, 3, 6}) check<double, Eigen::Dynamic>(n);
}

TEST_CASE("an error of 1e-9 in the combined mean is caught") {
  const auto report = kalscan::check_monoid(wrong_mean{}, filtering_elements<double, 2>(2), kalscan::ulps(bound), trials);
  CHECK_FALSE(report);
}

TEST_CASE("a belief is the element that forgets, and order matters: swapped operands give another belief") {
  std::mt19937_64 engine(3);
  const kalscan::matrix_filtering_monoid<double, 2> m;
  for (int trial = 0; trial < 100; ++trial) {
    const element prior{Eigen::Matrix2d::Zero(), normal_matrix<Eigen::Vector2d>(2, 1, engine), semidefinite<double, 2>(2, engine),
                        Eigen::Vector2d::Zero(), Eigen::Matrix2d::Zero()};
    const element stretch = filtering_elements<double, 2>(2)(engine), next = filtering_elements<double, 2>(2)(engine);
    const element x = m(m(prior, stretch), next), y = m(prior, m(stretch, next)), wrong = m(prior, swapped{}(stretch, next));
    CHECK((x.b - y.b).norm() < 1e-11 * (1 + x.b.norm()));
    CHECK((x.C - y.C).norm() < 1e-11 * (1 + x.C.norm()));
    CHECK(x.A.norm() == 0);
    CHECK((x.b - wrong.b).norm() > 1e-6);
  }
}

TEST_CASE("the literature's formula with its inverse gives the same element where C is regular") {
  std::mt19937_64 engine(4);
  for (int trial = 0; trial < 100; ++trial) {
    element x = filtering_elements<double, 2>(2)(engine), y = filtering_elements<double, 2>(2)(engine);
    x.C += Eigen::Matrix2d::Identity();
    // Also likelihoods that rise without bound in a direction that J leaves free, as no data make them.
    if (trial % 2 == 0) y.eta = normal_matrix<Eigen::Vector2d>(2, 1, engine);
    using matrix = Eigen::Matrix<long double, 2, 2>;
    const auto wide = [](const auto& v) { return v.template cast<long double>().eval(); };
    const matrix D = (matrix::Identity() + wide(x.C) * wide(y.J)).inverse();
    const matrix A = wide(y.A) * D * wide(x.A), C = wide(y.A) * D * wide(x.C) * wide(y.A).transpose() + wide(y.C);
    const auto b = (wide(y.A) * D * (wide(x.b) + wide(x.C) * wide(y.eta)) + wide(y.b)).eval();
    const matrix E = (matrix::Identity() + wide(y.J) * wide(x.C)).inverse();
    const auto eta = (wide(x.A).transpose() * E * (wide(y.eta) - wide(y.J) * wide(x.b)) + wide(x.eta)).eval();
    const matrix J = wide(x.A).transpose() * E * wide(y.J) * wide(x.A) + wide(x.J);
    const element z = kalscan::matrix_filtering_monoid<double, 2>{}(x, y);
    CHECK((wide(z.A) - A).norm() < 1e-13L * (1 + A.norm()));
    CHECK((wide(z.b) - b).norm() < 1e-13L * (1 + b.norm()));
    CHECK((wide(z.C) - C).norm() < 1e-13L * (1 + C.norm()));
    CHECK((wide(z.eta) - eta).norm() < 1e-13L * (1 + eta.norm()));
    CHECK((wide(z.J) - J).norm() < 1e-13L * (1 + J.norm()));
  }
}

TEST_CASE("a later stretch that knows a direction to 1e-8 of what the earlier one does leaves the other directions alone") {
  std::mt19937_64 engine(6);
  for (int trial = 0; trial < 100; ++trial) {
    const Eigen::Vector2d b = normal_matrix<Eigen::Vector2d>(2, 1, engine), x = normal_matrix<Eigen::Vector2d>(2, 1, engine);
    const Eigen::Matrix2d I = Eigen::Matrix2d::Identity(), zero = Eigen::Matrix2d::Zero();
    const Eigen::Matrix2d J = Eigen::Vector2d(1e16, 1).asDiagonal();
    const element earlier{zero, b, I, Eigen::Vector2d::Zero(), zero}, later{I, Eigen::Vector2d::Zero(), zero, J * x, J};
    const element z = kalscan::matrix_filtering_monoid<double, 2>{}(earlier, later);
    CHECK(std::abs(z.b(0) - x(0)) < 1e-15 * (1 + std::abs(x(0)) + std::abs(b(0))));
    CHECK(std::abs(z.b(1) - (b(1) + x(1)) / 2) < 1e-15 * (1 + std::abs(x(1)) + std::abs(b(1))));
    CHECK(std::abs(z.C(0, 0) - 1e-16) < 1e-29);
    CHECK(z.C(1, 1) == doctest::Approx(0.5).epsilon(1e-14));
  }
}

TEST_CASE("with one state the matrix operator gives the bits of the scalar one") {
  std::mt19937_64 engine(5);
  const auto scalar = [](const kalscan::matrix_filtering_element<double, 1>& x) {
    return kalscan::filtering_element<double>{x.A(0, 0), x.b(0), x.C(0, 0), x.eta(0), x.J(0, 0)};
  };
  for (int trial = 0; trial < 100; ++trial) {
    const auto x = filtering_elements<double, 1>(1)(engine), y = filtering_elements<double, 1>(1)(engine);
    CHECK(scalar(kalscan::matrix_filtering_monoid<double, 1>{}(x, y)) ==
          kalscan::filtering_monoid<double>{}(scalar(x), scalar(y)));
  }
}
