// SPDX-License-Identifier: MIT
// The exactly diffuse prior against the long double oracle with a very large variance.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "oracle.hpp"

namespace {

using Eigen::Dynamic;
using model_type = kalscan::kalman_model<double, Dynamic, Dynamic>;
using problem_type = oracle::problem<double, Dynamic, Dynamic>;

constexpr double bound = 1e-8;

/// A prior with the given components diffuse, and transitions that forget little, so that the data tell of the prior.
void make_diffuse(model_type& model, std::vector<bool> diffuse) {
  std::vector<Eigen::MatrixXd> F;
  for (std::int64_t t = 0; t < model.F.size(); ++t) {
    const Eigen::MatrixXd Q = Eigen::HouseholderQR<Eigen::MatrixXd>(model.F[t]).householderQ();
    F.push_back(0.97 * Q);
  }
  model.F = model.F.constant() ? kalscan::per_step<Eigen::MatrixXd>(F[0]) : kalscan::per_step<Eigen::MatrixXd>(F);
  for (std::size_t i = 0; i < diffuse.size(); ++i) {
    if (!diffuse[i]) continue;
    const auto k = static_cast<Eigen::Index>(i);
    model.prior.mean(k) = 0;
    model.prior.covariance.row(k).setZero();
    model.prior.covariance.col(k).setZero();
  }
  model.prior.diffuse = std::move(diffuse);
}

/// x x' = covariance.
oracle::matrix root(const oracle::matrix& covariance) {
  const Eigen::SelfAdjointEigenSolver<oracle::matrix> eigen(covariance);
  return eigen.eigenvectors() * eigen.eigenvalues().cwiseMax(0).cwiseSqrt().asDiagonal();
}

/// The limit itself: least squares. All states are linear in the unknowns u: the initial state's diffuse components, of
/// which nothing is known, and standard normal numbers for everything that is random. R must be regular.
struct least_squares {
  oracle::matrix precision;
  oracle::vector vector;
  std::vector<oracle::matrix> X;  // x_t = X u + x
  std::vector<oracle::vector> x;
  oracle::beliefs beliefs;  // filtered: only of steps whose belief is proper
  std::vector<oracle::real> log_likelihood;  // up to each step

  least_squares(const problem_type& problem, std::size_t improper) {
    using oracle::real;
    const model_type& model = problem.model;
    const Eigen::Index n = model.states(), length = problem.y.cols(), size = n * (length + 3);
    std::vector<bool> flat = model.prior.diffuse;
    precision = oracle::matrix::Identity(size, size);
    vector = oracle::vector::Zero(size);
    oracle::matrix S = oracle::matrix::Zero(n, size);
    S.middleCols(n, n) = root(model.prior.covariance.cast<real>());
    for (Eigen::Index i = 0; i < n; ++i) {
      S(i, i) = flat[static_cast<std::size_t>(i)] ? 1 : 0;
      precision(i, i) = 1 - S(i, i);
    }
    oracle::vector s = model.prior.mean.cast<real>();
    real constants = 0;
    for (Eigen::Index t = 0; t < length; ++t) {
      const oracle::matrix F = model.F[t].cast<real>(), Q = model.Q[t].cast<real>();
      const oracle::vector u = model.u.size() > 0 ? oracle::vector(model.u.col(t).cast<real>()) : oracle::vector();
      if (t > 0 || model.prior.before_first_transition) {
        S = (F * S).eval();
        S.middleCols(n * (t + 2), n) = root(Q);
        s = (F * s).eval();
        if (!model.B.empty()) s += model.B[t].cast<real>() * u;
      }
      X.push_back(S);
      x.push_back(s);
      std::vector<Eigen::Index> seen;
      for (Eigen::Index i = 0; i < problem.y.rows(); ++i) {
        if (!std::isnan(problem.y(i, t))) seen.push_back(i);
      }
      if (!seen.empty()) {
        oracle::vector d = problem.y.col(t).cast<real>();
        if (!model.D.empty()) d -= model.D[t].cast<real>() * u;
        const oracle::matrix H = oracle::matrix(model.H[t].cast<real>())(seen, Eigen::all);
        const oracle::matrix R = oracle::matrix(model.R[t].cast<real>())(seen, seen), W = R.inverse(), HS = H * S;
        const oracle::vector v = oracle::vector(d(seen)) - H * s;
        precision += HS.transpose() * W * HS;
        vector += HS.transpose() * W * v;
        constants += v.dot(W * v) + std::log(R.determinant()) +
                     static_cast<real>(seen.size()) * std::log(2 * std::numbers::pi_v<real>);
      }
      const Eigen::LDLT<oracle::matrix> factor(precision);
      const bool proper = static_cast<std::size_t>(t) >= improper;
      log_likelihood.push_back(
          proper ? -(constants - vector.dot(factor.solve(vector)) + factor.vectorD().array().log().sum()) / 2 : 0);
      beliefs.mean.push_back(proper ? mean(t, factor) : oracle::vector::Zero(n));
      beliefs.covariance.push_back(proper ? covariance(t, factor) : oracle::matrix::Identity(n, n));
      if (t + 1 < length || !proper) continue;
      for (Eigen::Index k = 0; k < length; ++k) {
        beliefs.smoothed_mean.push_back(mean(k, factor));
        beliefs.smoothed_covariance.push_back(covariance(k, factor));
      }
    }
  }

  oracle::vector mean(Eigen::Index t, const Eigen::LDLT<oracle::matrix>& factor) const {
    const auto i = static_cast<std::size_t>(t);
    return X[i] * factor.solve(vector) + x[i];
  }
  oracle::matrix covariance(Eigen::Index t, const Eigen::LDLT<oracle::matrix>& factor) const {
    const auto i = static_cast<std::size_t>(t);
    return X[i] * factor.solve(X[i].transpose());
  }
};

template <class Policy>
void check(const Policy& p, const problem_type& problem, double tolerance) {
  const auto s = kalscan::smooth(p, problem.model, problem.y, {.predictions = true, .innovations = true});
  const auto& f = s.filtered;
  const auto improper = f.diffuse.size();
  problem_type regular = problem;
  if (problem.model.R[0].determinant() == 0) {  // the least squares need some noise
    regular.model.R = Eigen::MatrixXd(problem.model.R[0] + 1e-9 * Eigen::MatrixXd::Identity(problem.y.rows(), problem.y.rows()));
  }
  const least_squares expected(regular, improper);
  const auto tail = [&](const auto& x) { return std::vector(x.begin() + static_cast<std::ptrdiff_t>(improper), x.end()); };
  const auto columns = problem.y.cols() - static_cast<Eigen::Index>(improper);
  CHECK(oracle::defect(f.mean.rightCols(columns), tail(f.covariance), tail(expected.beliefs.mean),
                       tail(expected.beliefs.covariance)) < tolerance);
  CHECK(oracle::defect(s.mean, s.covariance, expected.beliefs.smoothed_mean, expected.beliefs.smoothed_covariance) <
        tolerance);
  double total = 0;
  for (std::size_t t = 0; t < f.log_likelihood_terms.size(); ++t) {
    total += f.log_likelihood_terms[t];
    if (t < improper) continue;
    CHECK(std::abs(total - static_cast<double>(expected.log_likelihood[t])) < tolerance * (1 + std::abs(total)));
  }
  CHECK(total == doctest::Approx(f.log_likelihood));

  // While the belief is improper: a large variance, up to its own O(1 / kappa) and the oracle's rounding.
  constexpr double kappa = 1e9;
  model_type large = problem.model;
  for (Eigen::Index i = 0; i < large.states(); ++i) {
    if (large.prior.diffuse[static_cast<std::size_t>(i)]) large.prior.covariance(i, i) = kappa;
  }
  const auto limit = oracle::run(large, problem.y);
  const auto far = [&](const auto& covariance, const auto& diffuse, const oracle::matrix& wanted) {
    const oracle::matrix ours = covariance.template cast<long double>() + kappa * diffuse.template cast<long double>();
    return static_cast<double>((ours - wanted).cwiseAbs().maxCoeff() / wanted.cwiseAbs().maxCoeff());
  };
  for (std::size_t t = 0; t < improper; ++t) {
    CHECK(far(f.covariance[t], f.diffuse[t], limit.covariance[t]) < 1e-6);
    const oracle::vector mean = f.mean.col(static_cast<Eigen::Index>(t)).template cast<long double>();
    CHECK(static_cast<double>((mean - limit.mean[t]).norm() / (1 + limit.mean[t].norm())) < 1e-5);
  }
  for (std::size_t t = 0; t < f.predicted_diffuse.size(); ++t) {
    CHECK(far(f.predicted_covariance[t], f.predicted_diffuse[t], limit.predicted_covariance[t]) < 1e-6);
  }
}

void check_every_policy(const problem_type& problem, double tolerance = bound) {
  check(kalscan::seq{}, problem, tolerance);
  check(kalscan::omp{2, 3}, problem, tolerance);
}

TEST_CASE("a diffuse prior is the limit of large variances, for every kind of model") {
  std::uint64_t seed = 900;
  for (const Eigen::Index n : {1, 2, 3, 5}) {
    for (const oracle::kind& k : {oracle::kind{}, {.varying = true}, {.inputs = true}, {.singular_noise = true}, {.missing = true},
                          {.before_first = true},
                          {.varying = true, .inputs = true, .singular_noise = true, .missing = true, .before_first = true}}) {
      for (const Eigen::Index m : {Eigen::Index{1}, n}) {
        CAPTURE(n);
        CAPTURE(m);
        CAPTURE(seed);
        auto problem = oracle::random_problem<double, Dynamic, Dynamic>(n, m, 14, k, ++seed);
        std::vector<bool> diffuse(static_cast<std::size_t>(n), true);
        make_diffuse(problem.model, diffuse);
        check_every_policy(problem);
        diffuse[0] = n == 1;
        problem = oracle::random_problem<double, Dynamic, Dynamic>(n, m, 14, k, seed);
        make_diffuse(problem.model, diffuse);
        check_every_policy(problem);
      }
    }
  }
}

TEST_CASE("a diffuse state that is observed without noise is known at once") {
  std::uint64_t seed = 950;
  for (const Eigen::Index m : {1, 2}) {
    auto problem = oracle::random_problem<double, Dynamic, Dynamic>(3, m, 14, {}, ++seed);
    problem.model.R = Eigen::MatrixXd(Eigen::MatrixXd::Zero(m, m));
    make_diffuse(problem.model, {true, true, true});
    check_every_policy(problem, 1e-6);
    if (m == 2) {  // one component exact, one noisy
      problem.model.R = Eigen::MatrixXd(Eigen::Vector2d(0, 0.5).asDiagonal());
      check_every_policy(problem, 1e-6);
    }
  }
}

TEST_CASE("the Nile without observation noise is its own diffuse filter") {
  const Eigen::MatrixXd one = Eigen::MatrixXd::Ones(1, 1);
  const model_type model{one, one, one, one * 0, kalscan::gaussian_prior<double, Dynamic>::all_diffuse(1)};
  kalscan::observations<double, Dynamic> y(1, 3);
  y << 1, 2, 4;
  const auto s = kalscan::smooth(kalscan::seq{}, model, y);
  CHECK(s.filtered.mean == y);
  CHECK(s.mean == y);
  CHECK(s.covariance[0](0, 0) == 0);
  CHECK(s.filtered.log_likelihood == doctest::Approx(-1.5 * std::log(2 * std::numbers::pi) - 0.5 - 2));
}

TEST_CASE("a state that the data never determine stays improper, and cannot be smoothed") {
  Eigen::MatrixXd F = Eigen::MatrixXd::Identity(2, 2), H(1, 2);
  H << 1, 0;
  const model_type model{F, F, H, Eigen::MatrixXd(Eigen::MatrixXd::Identity(1, 1)),
                         kalscan::gaussian_prior<double, Dynamic>::all_diffuse(2)};
  kalscan::observations<double, Dynamic> y(1, 300);
  y.setOnes();
  const auto f = kalscan::filter(kalscan::omp{2}, model, y);
  CHECK(f.diffuse.size() == 300);
  CHECK(f.diffuse.back().isApprox(Eigen::MatrixXd(Eigen::Vector2d(0, 1).asDiagonal())));
  CHECK(f.mean(0, 299) == doctest::Approx(1));
  CHECK_THROWS_WITH(kalscan::smooth(kalscan::seq{}, model, y),
                    "kalscan: series 0, step 299: the data leave a part of the state unknown, its prior is diffuse");
}

TEST_CASE("a batch of series becomes known series by series") {
  auto problem = oracle::random_problem<double, Dynamic, Dynamic>(3, 1, 60, {}, 970);
  make_diffuse(problem.model, {true, true, true});
  std::vector<kalscan::observations<double, Dynamic>> batch{problem.y, problem.y.leftCols(7), problem.y.leftCols(25)};
  batch[2].leftCols(10).setConstant(std::nan(""));
  const auto together =
      kalscan::smooth(kalscan::omp{2, 8}, problem.model, std::span<const kalscan::observations<double, Dynamic>>(batch));
  for (std::size_t i = 0; i < batch.size(); ++i) {
    const auto alone = kalscan::smooth(kalscan::seq{}, problem.model, batch[i]);
    CHECK((together[i].mean - alone.mean).cwiseAbs().maxCoeff() < 1e-10);
    CHECK(together[i].filtered.diffuse.size() == alone.filtered.diffuse.size());
    CHECK(together[i].filtered.log_likelihood == doctest::Approx(alone.filtered.log_likelihood));
  }
}

TEST_CASE("a diffuse prior that does not fit is refused") {
  auto problem = oracle::random_problem<double, Dynamic, Dynamic>(2, 1, 10, {}, 980);
  problem.model.prior.diffuse = {true};
  CHECK_THROWS_WITH(kalscan::filter(kalscan::seq{}, problem.model, problem.y), "kalscan: the prior's diffuse has size 1, not 2");
  problem.model.prior.diffuse = {false, true};
  CHECK_THROWS_WITH(kalscan::filter(kalscan::seq{}, problem.model, problem.y),
                    "kalscan: the prior's component 1 is diffuse, its row of the covariance is not zero");
}

}  // namespace
