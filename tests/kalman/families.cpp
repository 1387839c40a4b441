// SPDX-License-Identifier: MIT
// Models that people have and that joint formulas lose: vague priors with several sensors, exact constraints,
// components that fade, singular transitions. Random families, and the cases that began them.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <kalscan/kalman/square_root.hpp>
#include <random>

#include "diffuse_oracle.hpp"
#include "model_families.hpp"
#include "scalar_oracle.hpp"

namespace families_tests {
namespace {

using Eigen::Dynamic, Eigen::MatrixXd, Eigen::VectorXd;
using model_type = kalscan::kalman_model<double, Dynamic, Dynamic>;
using float_model = kalscan::kalman_model<float, Dynamic, Dynamic>;
using model_families::generator, model_families::identity, model_families::zero;
using model_families::prior_type, model_families::problem_type;

/// KALSCAN_SEED: other models.
std::uint64_t first_seed(std::uint64_t otherwise) {
  const char* other = std::getenv("KALSCAN_SEED");
  return other ? std::strtoull(other, nullptr, 10) : otherwise;
}

const std::array policies{kalscan::omp{1, 1 << 20}, kalscan::omp{2, 7}};

constexpr double bound = 1e-8;

/// The worst errors of one model under one policy.
struct errors {
  double filtered = 0, smoothed = 0, log_likelihood = 0, above = 0;
  double worst() const { return std::max({filtered, smoothed, log_likelihood, 10 * above}); }
};

oracle::real largest_deviation(const problem_type& p) {
  return std::sqrt(p.model.prior.covariance.diagonal().maxCoeff() + p.model.Q[0].diagonal().maxCoeff());
}

enum class carried { as_covariances, as_roots };

template <class Policy>
errors errors_of(const Policy& policy, const problem_type& p, const oracle::beliefs& expected,
                 carried how = carried::as_covariances) {
  const oracle::real largest = largest_deviation(p);
  const auto s = how == carried::as_roots ? kalscan::smooth(policy, kalscan::square_root{p.model}, p.y)
                                          : kalscan::smooth(policy, p.model, p.y);
  const auto& f = s.filtered;
  errors e;
  e.filtered = oracle::error_in_deviations(f.mean, f.covariance, expected.mean, expected.covariance, largest);
  e.smoothed = oracle::error_in_deviations(s.mean, s.covariance, expected.smoothed_mean, expected.smoothed_covariance,
                                           largest);
  const auto expected_sum = static_cast<double>(expected.log_likelihood);
  e.log_likelihood =
      std::abs(f.log_likelihood - expected_sum) / (static_cast<double>(p.y.size()) + std::abs(expected_sum));
  for (std::size_t t = 0; t < f.covariance.size(); ++t) {
    const VectorXd rise = s.covariance[t].diagonal() - f.covariance[t].diagonal();
    e.above = std::max(e.above, (rise.array() / (f.covariance[t].diagonal().array() + 1e-300)).maxCoeff());
  }
  return e;
}

/// The same problem where every number is off by half a unit in its last place: by one of its own at each step, as a
/// filter rounds anew whenever it uses a number. Where what no sensor reads grows, that moves the answer a hundred times
/// as far as one rounding for all steps, which leaves directions without readings without.
oracle::problem<oracle::real, Dynamic, Dynamic> rounded(const problem_type& given, generator& g) {
  oracle::problem<oracle::real, Dynamic, Dynamic> p{oracle::convert<oracle::real, Dynamic, Dynamic>(given.model),
                                                    given.y.cast<oracle::real>()};
  const auto once = [&]() -> oracle::real { return 1 + 0x1p-53L * static_cast<oracle::real>(2 * g.between(0, 1) - 1); };
  const auto entries = [&](auto& x) {
    for (oracle::real& value : x.reshaped()) value *= once();
  };
  const auto covariance = [&](oracle::matrix& x) {  // by rows and columns, which keeps its rank
    const oracle::vector scale = oracle::vector::NullaryExpr(x.rows(), once);
    x = scale.asDiagonal() * x * scale.asDiagonal();
  };
  const auto every = [&](auto& matrices, auto change) {
    std::vector<oracle::matrix> all;
    for (Eigen::Index t = 0; t < p.y.cols(); ++t) change(all.emplace_back(matrices[t]));
    matrices = all;
  };
  every(p.model.F, entries);
  every(p.model.H, entries);
  every(p.model.Q, covariance);
  every(p.model.R, covariance);
  covariance(p.model.prior.covariance);
  entries(p.model.prior.mean);
  entries(p.y);
  return p;
}

/// How far such roundings move the exact answer: the root mean square of some draws, since the least of a few may be
/// small by chance.
double condition(const problem_type& p, const oracle::beliefs& expected) {
  generator g{std::mt19937_64(1)};
  const oracle::real largest = largest_deviation(p);
  constexpr int draws = 8;
  double squares = 0;
  for (int k = 0; k < draws; ++k) {
    const auto other = oracle::run_by_scalars(rounded(p, g));
    const auto error = [&](const auto& mean, const auto& covariance, const auto& want_mean, const auto& want_covariance) {
      const auto means = [&](Eigen::Index i, Eigen::Index t) { return mean[static_cast<std::size_t>(t)](i); };
      return oracle::error_in_deviations(means, covariance, want_mean, want_covariance, largest);
    };
    const double worst = std::max(error(other.mean, other.covariance, expected.mean, expected.covariance),
                                  error(other.smoothed_mean, other.smoothed_covariance, expected.smoothed_mean,
                                        expected.smoothed_covariance));
    squares += worst * worst;
  }
  return std::sqrt(squares / draws);
}

/// What is allowed where the data do not determine the answer to `bound`: a filter that is stable rounds each entry of
/// a product of n terms some times n halves of a unit at each step, for these families a dozen and more.
double allowed_for(const problem_type& p, const oracle::beliefs& expected) {
  return std::max(bound, 16 * condition(p, expected));
}

/// The answer of the oracle that conditions all states at once: slow, but it loses no digits to large variances.
oracle::beliefs beliefs_of(const diffuse_oracle::conditioning& c) {
  oracle::beliefs x;
  for (const auto& b : c.filtered) {
    x.mean.push_back(b.mean.cast<oracle::real>());
    x.covariance.push_back(b.covariance.cast<oracle::real>());
  }
  for (const auto& b : c.smoothed) {
    x.smoothed_mean.push_back(b.mean.cast<oracle::real>());
    x.smoothed_covariance.push_back(b.covariance.cast<oracle::real>());
  }
  x.log_likelihood = c.log_likelihood();
  return x;
}
oracle::beliefs joint(const problem_type& p) { return beliefs_of(diffuse_oracle::conditioning(p.model, p.y)); }

/// So many models: no error beyond `bound`, unless a few roundings of the inputs make as much; nothing thrown, and no
/// smoothed variance above the filtered one.
void check_family(const model_families::draw_type& draw, int count = 100) {
  const char* models = std::getenv("KALSCAN_MODELS");  // more of them
  const std::uint64_t first = first_seed(1000);
  if (models) count = std::min(std::atoi(models), 3 * count);
  for (int k = 0; k < count; ++k) {
    const std::uint64_t seed = first + static_cast<std::uint64_t>(k);
    CAPTURE(seed);
    const problem_type p = model_families::draw(draw, seed);
    auto expected = oracle::run_by_scalars(p);
    for (const auto& policy : policies) {
      CAPTURE(policy.chunk);
      errors e;
      double allowed = bound;
      CHECK_NOTHROW(e = errors_of(policy, p, expected));
      if (!(e.worst() < bound) && p.y.cols() < 100) {
        expected = joint(p);
        e = errors_of(policy, p, expected);
      }
      if (!(e.worst() < bound)) allowed = allowed_for(p, expected);
      CAPTURE(e.filtered);
      CAPTURE(e.smoothed);
      CAPTURE(e.log_likelihood);
      CAPTURE(e.above);
      CHECK(e.worst() < allowed);
    }
  }
}

TEST_CASE("several sensors and a vague prior, or noise far smaller than the innovations of the state") {
  for (const double vague : {1e7, 1e14}) check_family(model_families::several_sensors(vague));
}

TEST_CASE("vague priors in any direction, beside other states that are known well") {
  for (const double vague : {1e7, 1e14}) {
    check_family([&](generator& g, Eigen::Index n, Eigen::Index m) {
      VectorXd deviations = VectorXd::Constant(n, std::sqrt(vague));
      for (Eigen::Index i = 0; i < n; ++i) {
        if (g.between(0, 3) == 0) deviations(i) = 1;
      }
      const MatrixXd W = g.eighths(n, g.between(0, n));
      problem_type p{{g.between(0, 1) ? identity(n) : MatrixXd(0.95 * g.rotation(n)), MatrixXd(W * W.transpose()),
                      g.normal(m, n), MatrixXd(g.normal(m, 1).cwiseAbs2().asDiagonal()),
                      prior_type::of_first_state(g.normal(n, 1), deviations.cwiseAbs2().asDiagonal().toDenseMatrix())},
                     g.normal(m, 20)};
      p.model.prior.before_first_transition = g.between(0, 1) == 1;
      g.lose_some(p.y);
      return p;
    }, 30);
  }
}

/// Heights of which differences are read, or sums that differ in one state, beside a prior that is wide in all
/// directions.
problem_type sums_alone(generator& g, Eigen::Index n, Eigen::Index) {
  n = std::max<Eigen::Index>(n, 2);
  const auto power = [&](Eigen::Index low, Eigen::Index high) {
    return std::exp2(static_cast<double>(g.between(low, high)));
  };
  MatrixXd H = MatrixXd::Zero(2, n);
  if (g.between(0, 1)) {
    H.row(0) = g.eighths(1, n);
    H(0, 0) = 1;
    H.row(1) = H.row(0);
    H(1, g.between(0, n - 1)) += power(-20, -4);
  } else {
    for (Eigen::Index i = 0; i < 2; ++i) {
      H(i, g.between(0, n - 2)) = 1;
      H(i, n - 1) = -1;
    }
  }
  const VectorXd Q = VectorXd::NullaryExpr(n, [&] { return g.between(0, 2) ? power(-40, -20) : 0.0; });
  const VectorXd R = VectorXd::NullaryExpr(2, [&] { return power(-36, 0); });
  problem_type p{{identity(n), MatrixXd(Q.asDiagonal()), H, MatrixXd(R.asDiagonal()),
                  prior_type::of_first_state(VectorXd::Zero(n), power(27, 40) * identity(n))},
                 MatrixXd(2, 20)};
  VectorXd x = 100 * g.normal(n, 1);
  for (Eigen::Index t = 0; t < p.y.cols(); ++t, x += Q.cwiseSqrt().cwiseProduct(g.normal(n, 1).col(0))) {
    p.y.col(t) = H * x + R.cwiseSqrt().cwiseProduct(g.normal(2, 1).col(0));
  }
  g.lose_some(p.y);
  return p;
}

TEST_CASE("sums of states that are read ten thousand times and more as precisely as the states are known") {
  const std::uint64_t first = first_seed(1000);
  for (std::uint64_t seed = first; seed < first + model_families::at_most(60); ++seed) {
    CAPTURE(seed);
    const problem_type p = model_families::draw(sums_alone, seed);
    const auto expected = joint(p);
    for (const auto& policy : policies) {
      for (const carried how : {carried::as_covariances, carried::as_roots}) {
        const errors e = errors_of(policy, p, expected, how);
        CAPTURE(policy.chunk);
        CAPTURE(how == carried::as_roots);
        CAPTURE(e.filtered);
        CAPTURE(e.smoothed);
        CHECK(e.worst() < bound);
      }
    }
  }
}

TEST_CASE("a wide or diffuse prior takes no digits of smoothed variances long after the first readings") {
  constexpr Eigen::Index n = 4;
  MatrixXd F = identity(n), Q = zero(n), H = MatrixXd::Zero(1, n);  // position is read, the third derivative driven
  for (Eigen::Index i = 0; i < n; ++i) {
    for (Eigen::Index j = i + 1; j < n; ++j) F(i, j) = F(i, j - 1) * 32 / static_cast<double>(j - i);
  }
  Q(n - 1, n - 1) = 16;
  H(0, 0) = 1;
  model_type model{F, Q, H, MatrixXd(1e-8 * identity(1)),
                   prior_type::of_first_state(VectorXd::Zero(n), 1e-8 * identity(n))};  // not wide: no beginning
  const MatrixXd y = MatrixXd::Zero(1, 60);
  const auto expected = kalscan::smooth(kalscan::seq{}, model, y);
  const auto compare = [&] {
    for (const auto& s : {kalscan::smooth(kalscan::seq{}, model, y),
                          kalscan::smooth(kalscan::seq{}, kalscan::square_root{model}, y)}) {
      for (std::size_t t = 20; t < 40; ++t) {
        CAPTURE(t);
        const auto ratio = s.covariance[t].diagonal().array() / expected.covariance[t].diagonal().array();
        CHECK((ratio - 1).abs().maxCoeff() < 3e-6);  // roundings of the filter make 3e-7
      }
    }
  };
  model.prior = prior_type::all_diffuse(n);
  compare();
  model.prior = prior_type::of_first_state(VectorXd::Zero(n), 1e10 * identity(n));
  compare();
}

TEST_CASE("states that grow in gaps") {
  check_family(model_families::growing(16, true), 30);
  // Combinations that no sensor ever reads grow over the whole series, here to 1e6 times the others' variance.
  check_family(model_families::growing(12, false), 30);
  // To more than the digits of a covariance hold.
  for (const Eigen::Index most : {14, 16, 18}) check_family(model_families::growing(most, false), 30);
}

TEST_CASE("before steps of a gap whose difference of covariances cancels, smoothed variances keep their digits, too") {
  for (const std::uint64_t seed : {71'006U, 72'012U, 72'088U}) {
    CAPTURE(seed);
    const problem_type p = model_families::draw(model_families::growing(18, false), seed);
    const auto expected = oracle::run_by_scalars(p);
    CHECK(errors_of(kalscan::omp{1, 1 << 20}, p, expected).smoothed < 1e-10);
  }
}

TEST_CASE("so they do before a gap in the first steps of a diffuse prior") {
  for (const std::uint64_t seed : {22U, 34U, 42U, 51U}) {
    CAPTURE(seed);
    generator g{std::mt19937_64(seed)};
    const Eigen::Index n = g.between(2, 3);
    problem_type p = model_families::growing(16, false)(g, n, 1);
    const Eigen::Index gap = g.between(6, 14), from = n + g.between(0, 1);
    p.y = g.normal(1, 24);
    p.y.middleCols(from, gap).setConstant(std::numeric_limits<double>::quiet_NaN());
    p.model.prior = prior_type::all_diffuse(n);
    const auto expected = joint(p);
    const auto s = kalscan::smooth(kalscan::seq{}, p.model, p.y);
    CHECK(s.diffuse.empty());
    CHECK(oracle::error_in_deviations(s.mean, s.covariance, expected.smoothed_mean, expected.smoothed_covariance, 1) <
          1e-9);
  }
}

TEST_CASE("what a system forgets keeps its digits beside what grows, which much later data tell") {
  const MatrixXd F{{-0.0625, -1.125}, {-0.5625, 0.875}};  // grows by 1.33 a step, and fades by 0.52
  problem_type p{{F, zero(2), MatrixXd{{0.1, -0.1}}, 10 * identity(1), prior_type::all_diffuse(2)}, MatrixXd(1, 40)};
  generator g{std::mt19937_64(3)};
  VectorXd x = Eigen::Vector2d(3, -2);
  for (Eigen::Index t = 0; t < p.y.cols(); ++t, x = (F * x).eval()) p.y.col(t) = p.model.H[0] * x + 3 * g.normal(1, 1);
  const auto expected = joint(p);
  for (const auto& policy : policies) {
    const auto s = kalscan::smooth(policy, p.model, p.y);
    CHECK(oracle::error_in_deviations(s.mean, s.covariance, expected.smoothed_mean, expected.smoothed_covariance, 1) <
          1e-9);
  }
}

TEST_CASE("what later exact readings tell for certain takes no digits of what they tell with noise") {
  // Differences of the readings give all states but the last without error; the noise of the third hides that one.
  for (const double vague : {1e4, 1e8}) {
    CAPTURE(vague);
    generator g{std::mt19937_64(4)};
    MatrixXd F = identity(4), Q = zero(4), H = MatrixXd::Zero(1, 4);
    for (Eigen::Index i = 0; i < 3; ++i) F(i, i + 1) = 1;
    Q(2, 2) = 0x1p-8;
    H(0, 0) = 1;
    problem_type p{{F, Q, H, zero(1), prior_type::of_first_state(VectorXd::Zero(4), vague * identity(4))},
                   MatrixXd(1, 27)};
    VectorXd x = g.normal(4, 1);
    for (Eigen::Index t = 0; t < p.y.cols(); ++t, x = (F * x).eval(), x(2) += 0x1p-4 * g.normal(1, 1)(0))
      p.y(0, t) = x(0);
    const auto expected = oracle::run_by_scalars(p);
    for (const auto& policy : policies) CHECK(errors_of(policy, p, expected).worst() < 1e-9);
  }
}

/// An integrated Wiener process, read after times of any magnitude.
problem_type irregular_steps(generator& g, Eigen::Index, Eigen::Index) {
  constexpr Eigen::Index n = 3, length = 40;
  const auto uniform = [&](double low, double high) { return std::uniform_real_distribution<double>(low, high)(g.engine); };
  const auto factorial = [](Eigen::Index k) { return std::tgamma(static_cast<double>(k) + 1); };
  std::vector<MatrixXd> F, Q;
  problem_type p{{identity(n), zero(n), MatrixXd{{1, 0, 0}}, MatrixXd(std::pow(10.0, uniform(-6, 0)) * identity(1)),
                  prior_type::of_first_state(VectorXd::Zero(n), 10 * identity(n))},
                 MatrixXd(1, length)};
  VectorXd x = g.normal(n, 1);
  for (Eigen::Index t = 0; t < length; ++t) {
    const double dt = std::pow(10.0, uniform(-8, 2.5));
    F.push_back(zero(n)), Q.push_back(zero(n));
    for (Eigen::Index i = 0; i < n; ++i) {
      for (Eigen::Index j = i; j < n; ++j) F.back()(i, j) = std::pow(dt, j - i) / factorial(j - i);
      for (Eigen::Index j = 0; j < n; ++j) {
        const Eigen::Index k = n - 1 - i, l = n - 1 - j;
        Q.back()(i, j) = std::pow(dt, k + l + 1) / (static_cast<double>(k + l + 1) * factorial(k) * factorial(l));
      }
    }
    x = (F.back() * x + Eigen::LLT<MatrixXd>(Q.back()).matrixL() * g.normal(n, 1)).eval();
    p.y.col(t) = p.model.H[0] * x + std::sqrt(p.model.R[0](0, 0)) * g.normal(1, 1);
  }
  p.model.F = F, p.model.Q = Q;
  return p;
}

TEST_CASE("states that are read after times of any magnitude are smoothed as well as they are filtered") {
  const std::uint64_t first = first_seed(1);
  for (std::uint64_t seed = first; seed < first + model_families::at_most(30); ++seed) {
    CAPTURE(seed);
    const problem_type p = model_families::draw(irregular_steps, seed);
    const auto expected = oracle::run_by_scalars(p);
    const errors e = errors_of(kalscan::seq{}, p, expected);
    CHECK(e.worst() < (e.worst() < bound ? bound : allowed_for(p, expected)));
  }
}

TEST_CASE("a series is carried as roots when one reading turns out to tell far more than its covariances have digits") {
  const problem_type irregular = model_families::draw(irregular_steps, 1'720'003);
  CHECK(errors_of(kalscan::seq{}, irregular, oracle::run_by_scalars(irregular)).worst() < 1e-9);
  const problem_type grown = model_families::draw(model_families::growing(18, false), 2'110'007);
  const auto expected = oracle::run_by_scalars(grown);
  CHECK(errors_of(kalscan::seq{}, grown, expected).worst() < 1e-10);
  const kalscan::online_filter steps(grown.model);
  auto belief = steps.start();
  for (Eigen::Index t = 0; t < 27; ++t) belief = steps.update(steps.predict(belief, t), grown.y.col(t), t).belief;
  CHECK(oracle::error_in_deviations(belief.mean, std::vector{belief.covariance}, {expected.mean[26]},
                                    std::vector{expected.covariance[26]}, 0) < 1e-10);
}

TEST_CASE("the first steps of states far from what the prior says are right to the rounding of the readings") {
  problem_type p = model_families::draw(irregular_steps, 3'090'020);  // 28,000 deviations of the prior
  CHECK(errors_of(kalscan::seq{}, p, oracle::run_by_scalars(p)).worst() < 2e-7);  // roundings of the inputs make 8e-8
  p.model.prior = prior_type::all_diffuse(3);
  CHECK(errors_of(kalscan::seq{}, p, joint(p)).smoothed < 2e-7);

  // A position and its derivatives to the third, which noise moves: after 39 steps of 16 units the position is far.
  const MatrixXd F{{1, 16, 128, 4096.0 / 6}, {0, 1, 16, 128}, {0, 0, 1, 16}, {0, 0, 0, 1}};
  MatrixXd Q = zero(4);
  Q(3, 3) = 1.3;
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    CAPTURE(seed);
    generator g{std::mt19937_64(seed)};
    p = {{F, Q, MatrixXd{{1, 0, 0, 0}}, MatrixXd{{3e-4}}, prior_type::all_diffuse(4)}, MatrixXd(1, 39)};
    VectorXd x = VectorXd::Zero(4);
    for (Eigen::Index t = 0; t < p.y.cols(); ++t, x = (F * x).eval()) {
      x(3) += 1.14 * g.normal(1, 1)(0);
      p.y(0, t) = x(0) + 0.017 * g.normal(1, 1)(0);
    }
    const auto expected = joint(p);
    const auto s = kalscan::smooth(kalscan::seq{}, p.model, p.y);
    const double rounding = 0x1p-52 * p.y.cwiseAbs().maxCoeff() / 0.017;  // of the readings, in deviations of their noise
    bool right = true;  // in deviations, which the oracle has no digits for, beyond the means' own last digits
    for (std::size_t k = 0; k < expected.mean.size(); ++k) {
      for (Eigen::Index i = 0; i < 4; ++i) {
        const double mean = s.mean(i, static_cast<Eigen::Index>(k));
        const double error = static_cast<double>(std::abs(mean - expected.smoothed_mean[k](i)));
        right = right && (error - 0x1p-52 * std::abs(mean)) / std::sqrt(s.covariance[k](i, i)) < 1e-8 + rounding;
      }
    }
    CHECK(right);
  }
}

/// Coefficients far from 0 of regressors that change from step to step, which are constant or walk.
problem_type far_coefficients(generator& g, Eigen::Index, Eigen::Index) {
  constexpr Eigen::Index length = 30;
  std::uniform_real_distribution<> unit(0, 1);
  const auto power = [&](double low, double high) { return std::exp2(low + (high - low) * unit(g.engine)); };
  const Eigen::Index n = g.between(2, 4);
  const bool walk = g.between(0, 1) == 1;
  const VectorXd size = VectorXd::NullaryExpr(n, [&] { return power(-4, 4); });
  const VectorXd Q = VectorXd::NullaryExpr(n, [&] { return walk ? power(-20, 0) : 0.0; });
  const double R = power(-20, 0);
  std::vector<MatrixXd> H(length);
  problem_type p{{identity(n), MatrixXd(Q.asDiagonal()), zero(1), MatrixXd(R * identity(1)), prior_type::all_diffuse(n)},
                 MatrixXd(1, length)};
  VectorXd x = power(10, 20) * g.normal(n, 1);
  for (Eigen::Index t = 0; t < length; ++t, x += Q.cwiseSqrt().cwiseProduct(g.normal(n, 1).col(0))) {
    auto& h = H[static_cast<std::size_t>(t)];
    h = g.normal(1, n).cwiseProduct(size.transpose());
    p.y(0, t) = (h * x)(0) + std::sqrt(R) * g.normal(1, 1)(0);
  }
  p.model.H = H;
  return p;
}

TEST_CASE("the first steps of states far from 0 are mostly right to half a unit of the readings' last digits") {
  int beyond = 0;
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    const problem_type p = model_families::draw(far_coefficients, seed);
    const diffuse_oracle::conditioning expected(p.model, p.y);
    const auto f = kalscan::filter(kalscan::seq{}, p.model, p.y);
    double worst = 0;
    for (std::size_t t = 0; t < expected.filtered.size(); ++t) {
      const auto& exact = expected.filtered[t];
      if (!exact.proper) continue;
      const Eigen::ArrayXd error = (f.mean.col(static_cast<Eigen::Index>(t)) - exact.mean).array().abs();
      const Eigen::ArrayXd deviation = exact.covariance.diagonal().array().sqrt();
      worst = std::max(worst, ((error - 0x1p-50 * exact.mean.array().abs()) / deviation).maxCoeff());
    }
    beyond += worst > 0x1p-53 * p.y.cwiseAbs().maxCoeff() / std::sqrt(p.model.R[0](0, 0)) ? 1 : 0;
  }
  CHECK(beyond <= 8);  // of 60; if the origin of unknowns did not move, 27
}

/// A local trend with a vague prior, read after times of any magnitude, but not at the second of them.
problem_type vague_trend(generator& g, Eigen::Index, Eigen::Index) {
  constexpr Eigen::Index length = 12;
  const auto power = [&](double low, double high) {
    return std::pow(10.0, std::uniform_real_distribution<double>(low, high)(g.engine));
  };
  const double noise = power(-6, -2), variance = power(3, 8);
  problem_type p{{identity(2), zero(2), MatrixXd{{1, 0}}, MatrixXd{{noise}},
                  prior_type::of_first_state(VectorXd::Zero(2), variance * identity(2))},
                 g.normal(1, length)};
  p.y(0, 1) = std::numeric_limits<double>::quiet_NaN();
  std::vector<MatrixXd> F, Q;
  for (Eigen::Index t = 0; t < length; ++t) {
    const double dt = power(-6, 2.5);
    F.push_back(MatrixXd{{1, dt}, {0, 1}});
    Q.push_back(MatrixXd{{dt * dt * dt / 3, dt * dt / 2}, {dt * dt / 2, dt}});
  }
  p.model.F = F, p.model.Q = Q;
  return p;
}

/// One sensor less than states, with a vague prior, and with noise that is nearly the same for all.
problem_type sensors_alike(generator& g, Eigen::Index, Eigen::Index) {
  const auto power = [&](double low, double high) {
    return std::pow(10.0, std::uniform_real_distribution<double>(low, high)(g.engine));
  };
  const Eigen::Index n = g.between(2, 5), m = n - 1;
  const double apart = power(-9, -6), noise = power(-8, 0), variance = power(4, 8);
  const MatrixXd F = 0.9 * g.rotation(n), H = g.normal(m, n);
  const MatrixXd R = noise * (MatrixXd::Ones(m, m) + apart * identity(m));
  const auto prior = prior_type::of_first_state(VectorXd::Zero(n), variance * identity(n));
  return {{F, MatrixXd(1e-7 * identity(n)), H, R, prior}, g.normal(m, 20)};
}

/// Of the smoothed beliefs, in their own deviations, however small.
double smoothed_error(const problem_type& p) {
  const auto expected = oracle::run_by_scalars(p);
  const auto s = kalscan::smooth(kalscan::seq{}, p.model, p.y);
  return oracle::error_in_deviations(s.mean, s.covariance, expected.smoothed_mean, expected.smoothed_covariance, 0);
}

TEST_CASE("a state that is hardly known at first is not taken from the next step because later ones were") {
  for (std::uint64_t seed = 1; seed <= model_families::at_most(60); ++seed) {  // up to 1.7 deviations; R has rounding, too
    CAPTURE(seed);
    CHECK(smoothed_error(model_families::draw(sensors_alike, seed)) < 1e-4);
  }
}

TEST_CASE("in a beginning, too, a difference that cancels is not kept, even where nothing is left of it") {
  for (std::uint64_t seed = 1; seed <= model_families::at_most(60); ++seed) {
    CAPTURE(seed);
    CHECK(smoothed_error(model_families::draw(vague_trend, seed)) < 1e-7);
  }
}

TEST_CASE("states that no sensor reads grow over pieces of a series, and step by step, as over all of it") {
  const std::uint64_t first = first_seed(62'000);
  for (const Eigen::Index most : {14, 16, 18}) {
    for (std::uint64_t seed = first; seed < first + model_families::at_most(30); ++seed) {
      CAPTURE(most);
      CAPTURE(seed);
      const problem_type p = model_families::draw(model_families::growing(most, false), seed);
      const auto expected = oracle::run_by_scalars(p);
      const auto error = [&](const VectorXd& mean, const MatrixXd& covariance, double sum) {
        const double last = oracle::error_in_deviations(mean, std::vector{covariance}, {expected.mean.back()},
                                                        std::vector{expected.covariance.back()}, 0);
        const auto expected_sum = static_cast<double>(expected.log_likelihood);
        return std::max(last, std::abs(sum - expected_sum) / (1 + std::abs(expected_sum)));
      };
      double sum = 0;
      auto rest = p.model;
      for (Eigen::Index t = 0; t < p.y.cols(); t += 5) {
        const auto piece = kalscan::filter(kalscan::seq{}, rest, p.y.middleCols(t, 5));
        sum += piece.log_likelihood;
        rest.prior = kalscan::prior_after(piece);
      }
      const double pieces = error(rest.prior.mean, rest.prior.covariance, sum);
      const kalscan::online_filter steps(p.model);
      auto belief = steps.start();
      sum = 0;
      Eigen::Index t = 0;
      if (seed % 2 == 0) {  // after a result that is not long enough for it to show
        t = 8;
        const auto beginning = kalscan::filter(kalscan::seq{}, p.model, p.y.leftCols(t));
        belief = steps.after(beginning);
        sum = beginning.log_likelihood;
      }
      for (; t < p.y.cols(); ++t) {
        const auto [updated, log_density] = steps.update(steps.predict(std::move(belief), t), p.y.col(t), t);
        belief = updated;
        sum += log_density;
      }
      const double online = error(belief.mean, belief.covariance, sum);
      const double allowed = std::max(pieces, online) < bound ? bound : allowed_for(p, expected);
      CHECK(pieces < allowed);
      CHECK(online < allowed);
    }
  }
}

TEST_CASE("ordinary series are not filtered again as roots, nor where one step adds much noise") {
  for (const auto& family : model_families::all) {
    CAPTURE(family.name);
    for (std::uint64_t seed = 1; seed <= model_families::at_most(family.count < 100 ? 3 : 30); ++seed) {
      CAPTURE(seed);
      const auto p = model_families::draw(family.draw, seed);
      const auto f = kalscan::filter(kalscan::seq{}, p.model, p.y);
      // Read without noise, or nearly: carried as roots anyway.
      CHECK(f.covariance_root.empty() == (f.rounding.empty() && !kalscan::detail::reads_sharply(p.model)));
    }
  }
  const MatrixXd I = identity(2);
  std::vector<MatrixXd> Q(10, I);
  Q[6] += MatrixXd::Constant(2, 2, 1e9);
  const MatrixXd R = 1e4 * identity(1);  // of what is read more precisely roots are carried anyway
  const model_type model{I, Q, MatrixXd{{1, 0}}, R, prior_type::of_first_state(VectorXd::Zero(2), I)};
  const MatrixXd y = MatrixXd::Constant(1, 10, std::numeric_limits<double>::quiet_NaN());
  CHECK(kalscan::filter(kalscan::seq{}, model, y).covariance_root.empty());
  const MatrixXd grows{{10, 0}, {10, 1}};
  CHECK(!kalscan::filter(kalscan::seq{}, model_type{grows, I, model.H, model.R, model.prior}, y).covariance_root.empty());
}

/// Sensors whose noise has fewer sources than there are sensors, others at each step, and half of all readings lost.
problem_type lost_readings(generator& g, Eigen::Index n, Eigen::Index) {
  const Eigen::Index m = g.between(2, 4), length = 30;
  const MatrixXd F = g.between(0, 1) ? MatrixXd(0.9 * g.rotation(n)) : identity(n), W = g.eighths(n, g.between(0, n));
  std::vector<MatrixXd> H, R;
  MatrixXd y(m, length);
  VectorXd x = g.normal(n, 1);
  for (Eigen::Index t = 0; t < length; ++t, x = (F * x + W * g.normal(W.cols(), 1)).eval()) {
    const MatrixXd V = g.eighths(m, g.between(0, m));
    H.push_back(g.normal(m, n)), R.push_back(V * V.transpose());
    y.col(t) = H.back() * x + V * g.normal(V.cols(), 1);
  }
  for (double& value : y.reshaped()) value = g.between(0, 1) ? value : std::numeric_limits<double>::quiet_NaN();
  const double variance = g.between(0, 1) ? 1 : 1e6;
  return {{F, MatrixXd(W * W.transpose()), H, R, prior_type::of_first_state(VectorXd::Zero(n), variance * identity(n))},
          y};
}

TEST_CASE("what later readings tell for certain takes no digits of what others tell of states known less before") {
  for (std::uint64_t seed = 1; seed <= model_families::at_most(60); ++seed) {
    CAPTURE(seed);
    const problem_type p = model_families::draw(lost_readings, seed);
    const auto expected = oracle::run_by_scalars(p);
    CHECK(errors_of(kalscan::seq{}, p, expected).worst() < bound);
  }
}

/// Integrated ARMA models, of at least so many states beside those integrated, whose moving average has roots just within
/// the unit circle, side = -1, or beyond it, 1; read with noise. The rank of Q is one exactly.
problem_type hardly_invertible(generator& g, Eigen::Index least, double side) {
  const Eigen::Index d = g.between(0, 2), p = g.between(least, 4), n = d + p, length = 50;
  const auto polynomial = [&](Eigen::Index degree, auto root) {
    VectorXd c = VectorXd::Unit(degree + 1, 0);
    for (Eigen::Index k = 0; k < degree; ++k) c.segment(1, k + 1) -= (root() * c.head(k + 1)).eval();
    return c;
  };
  const auto uniform = [&](double low, double high) { return std::uniform_real_distribution<double>(low, high)(g.engine); };
  MatrixXd F = zero(n), H = MatrixXd::Zero(1, n), W = MatrixXd::Zero(n, 1);
  for (Eigen::Index i = 0; i < d; ++i) F.row(i).segment(i, d + 1 - i).setOnes();
  F.block(d, d, p, 1) = -polynomial(p, [&] { return uniform(-0.9, 0.95); }).tail(p);
  F.block(d, d + 1, p - 1, p - 1).setIdentity();
  H.leftCols(d + 1).setOnes();
  W.bottomRows(p) = polynomial(p - 1, [&] { return 1 + side * std::pow(10.0, -uniform(1, 8)); }).cast<float>().cast<double>();
  const MatrixXd Q = W * W.transpose(), A = F.bottomRightCorner(p, p);
  MatrixXd P = 1e10 * identity(n), S = Q.bottomRightCorner(p, p);
  for (int k = 0; k < 400; ++k) S = (A * S * A.transpose() + Q.bottomRightCorner(p, p)).eval();
  P.bottomRows(p).setZero(), P.rightCols(p).setZero();
  P.bottomRightCorner(p, p) = (S + S.transpose()) / 2;
  problem_type x{{F, Q, H, MatrixXd(std::pow(10.0, -uniform(0, 8)) * identity(1)),
                  prior_type::of_first_state(VectorXd::Zero(n), P)},
                 MatrixXd(1, length)};
  VectorXd state = VectorXd::Zero(n);
  for (Eigen::Index t = -100; t < length; ++t, state = (F * state + W * g.normal(1, 1)).eval()) {
    if (t <= 0) state.head(d).setConstant(100);
    if (t >= 0) x.y.col(t) = H * state + x.model.R[0].cwiseSqrt() * g.normal(1, 1);
  }
  if (g.between(0, 1)) g.lose_some(x.y);
  return x;
}

TEST_CASE("where the end of a beginning is hardly regular, or a smoother would go back from the next step nearly everywhere") {
  for (std::uint64_t seed = 460; seed < 460 + model_families::at_most(60); ++seed) {
    CAPTURE(seed);
    const problem_type p = model_families::draw(
        [](generator& g, Eigen::Index, Eigen::Index) { return hardly_invertible(g, 3, -1); }, seed);
    const auto expected = oracle::run_by_scalars(p);
    CHECK(errors_of(kalscan::seq{}, p, expected).worst() < 1e-7);
  }
}

TEST_CASE("what later data leave of steps of a beginning that its end determines is not off by what its end is off by") {
  for (const std::uint64_t seed : {54U, 166U, 168U}) {  // these were off by up to 0.0025 deviations
    CAPTURE(seed);
    const problem_type p = model_families::draw(
        [](generator& g, Eigen::Index, Eigen::Index) { return hardly_invertible(g, 2, 1); }, seed);
    CHECK(errors_of(kalscan::seq{}, p, oracle::run_by_scalars(p)).worst() < 1e-7);
  }
}

TEST_CASE("a sensor far more precise than a shock that moves another state, too, tells as much of that") {
  for (const double variance : {1e-6, 1e-8, 1e-10}) {
    CAPTURE(variance);
    const MatrixXd F{{0.9, 1}, {-0.2, 0}}, Q{{1, -0.5625}, {-0.5625, 0.31640625}};  // an ARMA model, of rank one
    problem_type p{{F, Q, MatrixXd{{1, 0}}, MatrixXd{{variance}}, prior_type::of_first_state(VectorXd::Zero(2), Q)},
                   MatrixXd(1, 20)};
    for (Eigen::Index t = 0; t < 20; ++t) p.y(0, t) = std::sin(3 * static_cast<double>(t));
    for (const auto& policy : policies) CHECK(errors_of(policy, p, oracle::run_by_scalars(p)).worst() < 1e-9);
  }
}

TEST_CASE("several sensors far more precise than what is new in each step") {
  check_family([](generator& g, Eigen::Index n, Eigen::Index m) {
    const MatrixXd F = 0.95 * g.rotation(n), H = g.normal(m, n);
    problem_type p{{F, identity(n), H, MatrixXd(std::pow(10.0, -static_cast<double>(g.between(3, 14))) * identity(m)),
                    prior_type::of_first_state(g.normal(n, 1), identity(n))},
                   MatrixXd(m, 20)};
    VectorXd x = g.normal(n, 1);
    for (Eigen::Index t = 0; t < 20; ++t, x = (F * x + g.normal(n, 1)).eval()) p.y.col(t) = H * x;
    p.model.prior.before_first_transition = g.between(0, 1) == 1;
    g.lose_some(p.y);
    return p;
  }, 60);
}

TEST_CASE("an exact constraint of any value") {
  check_family(model_families::exact_constraint);
}

TEST_CASE("exact readings, of the same or of new combinations, until nothing is unknown") {
  for (const bool turns : {false, true}) check_family(model_families::exact_readings(turns));
}

/// Deviations that fade are compared down to 1e-8 of the prior's, where the states' own rounding is 1e-7 of them, and
/// errors add up from step to step.
void check_exact_family(const model_families::draw_type& draw, std::uint64_t count) {
  const std::uint64_t first = first_seed(1);
  for (std::uint64_t seed = first; seed < first + model_families::at_most(count); ++seed) {
    CAPTURE(seed);
    const problem_type p = model_families::draw(draw, seed);
    const auto expected = oracle::run_by_scalars(p);
    const oracle::real largest = largest_deviation(p);
    kalscan::smoother_result<double, Dynamic, Dynamic> s;
    CHECK_NOTHROW(s = kalscan::smooth(kalscan::omp{2, 7}, p.model, p.y));
    const auto& f = s.filtered;
    for (const double exact : {1e-8, 1e-6}) {
      const double allowed = 1e-11 / exact;
      CHECK(oracle::error_in_deviations(f.mean, f.covariance, expected.mean, expected.covariance, largest, exact) <
            allowed);
      CHECK(oracle::error_in_deviations(s.mean, s.covariance, expected.smoothed_mean, expected.smoothed_covariance,
                                        largest, exact) < allowed);
    }
    CHECK(f.log_likelihood == doctest::Approx(static_cast<double>(expected.log_likelihood)).epsilon(bound));
  }
}

TEST_CASE("one shock moves all states, read without noise: the inverse system may be stable or not") {
  for (const bool beside : {false, true}) {
    check_exact_family(model_families::one_shock(20, beside), 150);
    check_exact_family(model_families::one_shock(150, beside), 150);
  }
}

TEST_CASE("more exact sensors than shocks: what is known stays known where the inverse of each of them is unstable") {
  const std::uint64_t first = first_seed(1);
  oracle::matrix states;
  for (const auto& [shocks, sensors, steps_of_all] : {std::array{1, 2, 20}, {1, 2, 100}, {2, 3, 40}}) {
    const int length = steps_of_all;
    const auto draw = model_families::fewer_shocks(shocks, sensors, length, states);
    for (std::uint64_t seed = first; seed < first + model_families::at_most(50); ++seed) {
      CAPTURE(length);
      CAPTURE(seed);
      const problem_type p = model_families::draw(draw, seed);
      const auto expected = oracle::run_by_scalars(p, states);
      const oracle::real largest = largest_deviation(p);
      kalscan::smoother_result<double, Dynamic, Dynamic> s;
      CHECK_NOTHROW(s = kalscan::smooth(kalscan::omp{2, 7}, p.model, p.y));
      const auto& f = s.filtered;
      CHECK(oracle::error_in_deviations(f.mean, f.covariance, expected.mean, expected.covariance, largest) < 1e-9);
      CHECK(oracle::error_in_deviations(s.mean, s.covariance, expected.smoothed_mean, expected.smoothed_covariance,
                                        largest) < 1e-9);
      CHECK(f.log_likelihood == doctest::Approx(static_cast<double>(expected.log_likelihood)).epsilon(bound));
      // Cut anywhere, and step by step.
      const Eigen::Index cut = 1 + static_cast<Eigen::Index>(seed % 6);
      const auto before = kalscan::filter(kalscan::seq{}, p.model.steps(0, cut), p.y.leftCols(cut));
      auto rest = p.model.steps(cut, length);
      rest.prior = kalscan::prior_after(before);
      const auto after = kalscan::filter(kalscan::seq{}, rest, p.y.rightCols(length - cut));
      CHECK(before.log_likelihood + after.log_likelihood == doctest::Approx(f.log_likelihood).epsilon(bound));
      const kalscan::online_filter steps(p.model);
      auto belief = steps.start();
      double sum = 0;
      for (Eigen::Index t = 0; t < length; ++t) {
        const auto [updated, log_density] = steps.update(steps.predict(std::move(belief), t), p.y.col(t), t);
        belief = updated;
        sum += log_density;
      }
      CHECK(sum == doctest::Approx(f.log_likelihood).epsilon(bound));
      CHECK((belief.mean - f.mean.rightCols(1)).norm() < 1e-9 * (1 + belief.mean.norm()));
    }
  }
}

TEST_CASE("ARMA models, of which all is known exactly in the end") {
  check_exact_family(model_families::arma(20), 150);
  check_exact_family(model_families::arma(150), 150);
}

TEST_CASE("what later readings tell little of keeps its digits beside what they tell 1e12 times as well") {
  for (const std::uint64_t seed : {9'130U, 3'360'060U}) {  // these were off by up to 3e-5 deviations
    CAPTURE(seed);
    const problem_type p = model_families::draw(model_families::arma(150), seed);
    const auto expected = oracle::run_by_scalars(p);
    const auto s = kalscan::smooth(kalscan::seq{}, p.model, p.y);
    CHECK(oracle::error_in_deviations(s.mean, s.covariance, expected.smoothed_mean, expected.smoothed_covariance,
                                      largest_deviation(p), 1e-6) < 1e-7);
  }
}

TEST_CASE("what is read without noise some steps after it was read with little is known exactly at the first of them") {
  MatrixXd F = zero(4), Q = zero(4), H = MatrixXd::Zero(2, 4), R = zero(2);
  F.bottomLeftCorner(3, 3).setIdentity();  // a chain of delays
  F(0, 0) = 0.875;
  Q(0, 0) = 0.02;
  H(0, 3) = H(1, 1) = 1;
  R(1, 1) = 1e-11;
  MatrixXd y(2, 12);
  for (Eigen::Index t = 0; t < 12; ++t) y(0, t) = std::sin(static_cast<double>(3 * t));
  for (Eigen::Index t = 0; t < 12; ++t) y(1, t) = std::sin(static_cast<double>(3 * (t + 2))) + 1e-6;
  const model_type model{F, Q, H, R, prior_type::of_first_state(VectorXd::Zero(4), 10 * identity(4))};
  const auto s = kalscan::smooth(kalscan::seq{}, model, y);
  for (Eigen::Index t = 0; t < 10; ++t) {
    CAPTURE(t);
    CHECK(std::abs(s.mean(1, t) - y(0, t + 2)) < 1e-12);
    CHECK(s.covariance[static_cast<std::size_t>(t)](1, 1) < 1e-24);
  }
}

TEST_CASE("a shock that hardly moves what is read is known to its own digits under a diffuse prior, too") {
  problem_type p = model_families::draw(model_families::one_shock(20), 860'020);
  p.model.prior = prior_type::all_diffuse(p.model.states());
  const diffuse_oracle::conditioning exact(p.model, p.y);
  const auto f = kalscan::filter(kalscan::seq{}, p.model, p.y);
  for (std::size_t t = 0; t < exact.filtered.size(); ++t) {
    CAPTURE(t);
    CHECK((f.covariance[t] - exact.filtered[t].covariance).norm() < 1e-10);
    CHECK(std::abs(f.log_likelihood_terms[t] - exact.log_likelihood_terms[t]) < 1e-9);
  }
}

TEST_CASE("one shock and a diffuse prior: what is known in the end, and the states given all data") {
  const std::uint64_t first = first_seed(1);
  const auto check = [](std::uint64_t seed) {
    CAPTURE(seed);
    problem_type p = model_families::draw(model_families::one_shock(20), seed);
    p.model.prior = prior_type::all_diffuse(p.model.states());
    const diffuse_oracle::conditioning exact(p.model, p.y);
    const auto expected = beliefs_of(exact);
    const auto last = static_cast<std::size_t>(p.y.cols() - 1);
    kalscan::smoother_result<double, Dynamic, Dynamic> s;
    CHECK_NOTHROW(s = kalscan::smooth(kalscan::omp{1}, p.model, p.y));
    CHECK(s.diffuse.empty());
    const auto off = [&](const auto& mean, const auto& covariance) {
      return oracle::error_in_deviations(mean, covariance, expected.smoothed_mean, expected.smoothed_covariance, 10);
    };
    const auto last_off = [&](const auto& mean, const auto& covariance) {
      return oracle::error_in_deviations(mean, std::vector{covariance}, {expected.mean[last]},
                                         std::vector{expected.covariance[last]}, 10);
    };
    const double smoothed = off(s.mean, s.covariance);
    const double filtered = last_off(s.filtered.mean.rightCols(1), s.filtered.covariance[last]);
    double allowed = bound, allowed_last = bound;
    for (std::uint64_t k = 1; !(smoothed < allowed && filtered < allowed_last) && k <= 3; ++k) {
      const auto x = beliefs_of(exact.rounded(k));
      const auto means = [&](Eigen::Index i, Eigen::Index t) { return x.smoothed_mean[static_cast<std::size_t>(t)](i); };
      allowed = std::max(allowed, 32 * off(means, x.smoothed_covariance));
      const auto last_mean = [&](Eigen::Index i, Eigen::Index) { return x.mean[last](i); };
      allowed_last = std::max(allowed_last, 32 * last_off(last_mean, x.covariance[last]));
    }
    CHECK(smoothed < allowed);
    CHECK(filtered < allowed_last);
    const double sum = static_cast<double>(expected.log_likelihood);
    CHECK(std::abs(s.filtered.log_likelihood - sum) < 1e-10 * (1 + std::abs(sum)));
  };
  for (std::uint64_t seed = first; seed < first + model_families::at_most(60); ++seed) check(seed);
  // Where the transition hides a direction of the state before, smoothed deviations were off by up to 1e6.
  for (const std::uint64_t seed : {106U, 167U, 372U, 435U, 73'086U}) check(seed);
}

/// As many shocks as exact sensors, or fewer, beside a diffuse state that has nothing to do with them and is read at step
/// `seen`. H changes at every step where `varying`.
struct beside_diffuse {
  problem_type alone, both;
  oracle::matrix states;

  beside_diffuse(Eigen::Index shocks, Eigen::Index sensors, Eigen::Index length, Eigen::Index seen, bool varying,
                 std::uint64_t seed) {
    alone = model_families::draw(model_families::fewer_shocks(shocks, sensors, length, states), seed);
    const Eigen::Index n = alone.model.states();
    const auto beside = [](const MatrixXd& x, double one) {
      MatrixXd wide = MatrixXd::Zero(x.rows() + 1, x.cols() + 1);
      wide.topLeftCorner(x.rows(), x.cols()) = x;
      wide(x.rows(), x.cols()) = one;
      return wide;
    };
    std::vector<MatrixXd> H(static_cast<std::size_t>(length), alone.model.H[0]);
    generator g{std::mt19937_64(seed)};
    for (Eigen::Index t = 0; varying && t < length; ++t) {
      const MatrixXd& h = H[static_cast<std::size_t>(t)] = g.normal(sensors, n);
      alone.y.col(t) = (h.cast<oracle::real>() * states.col(t)).eval().cast<double>();
    }
    if (varying) alone.model.H = H;
    for (MatrixXd& h : H) h = beside(h, 1);
    auto prior = prior_type::of_first_state(VectorXd::Zero(n + 1), beside(alone.model.prior.covariance, 0));
    prior.diffuse.assign(static_cast<std::size_t>(n + 1), false);
    prior.diffuse.back() = true;
    both = {{beside(alone.model.F[0], 1), beside(alone.model.Q[0], 0), H, beside(alone.model.R[0], 1), prior},
            MatrixXd::Constant(sensors + 1, length, std::numeric_limits<double>::quiet_NaN())};
    if (!varying) both.model.H = H[0];
    both.y.topRows(sensors) = alone.y;
    if (seen < length) both.y(sensors, seen) = 0.5;
  }
};

TEST_CASE("exact readings of one or two shocks beside a diffuse state that has nothing to do with them") {
  const std::uint64_t first = first_seed(1);
  struct kind { Eigen::Index shocks, sensors, length; bool varying; };
  for (const kind& of : {kind{1, 1, 60, false}, {1, 2, 60, false}, {2, 3, 40, false}, {1, 2, 60, true}}) {
    const Eigen::Index shocks = of.shocks, sensors = of.sensors, length = of.length;
    const bool varying = of.varying;
    for (const Eigen::Index seen : {Eigen::Index(0), length / 2, length}) {
      CAPTURE(sensors);
      CAPTURE(varying);
      CAPTURE(seen);
      for (std::uint64_t seed = first; seed < first + model_families::at_most(20); ++seed) {
        CAPTURE(seed);
        const beside_diffuse p(shocks, sensors, length, seen, varying, seed);
        const Eigen::Index n = p.alone.model.states();
        const auto expected = oracle::run_by_scalars(p.alone, sensors > shocks ? p.states : oracle::matrix());
        const oracle::real largest = largest_deviation(p.alone);
        // As above, where deviations fade to nothing.
        const double exact = sensors > shocks ? 1e-8 : 1e-6, allowed = sensors > shocks ? 1e-9 : 1e-11 / exact;
        kalscan::smoother_result<double, Dynamic, Dynamic> s;
        REQUIRE_NOTHROW(s = kalscan::smooth(kalscan::seq{}, p.both.model, p.both.y));
        for (MatrixXd& P : s.filtered.covariance) P.conservativeResize(n, n);
        for (MatrixXd& P : s.covariance) P.conservativeResize(n, n);
        CHECK(oracle::error_in_deviations(s.filtered.mean, s.filtered.covariance, expected.mean, expected.covariance,
                                          largest, exact) < allowed);
        CHECK(oracle::error_in_deviations(s.mean, s.covariance, expected.smoothed_mean, expected.smoothed_covariance,
                                          largest, exact) < allowed);
        const double of_diffuse = seen < length ? std::log(2 * std::numbers::pi) / 2 : 0;
        const double sum = static_cast<double>(expected.log_likelihood) - of_diffuse;
        CHECK(s.filtered.log_likelihood == doctest::Approx(sum).epsilon(bound));
      }
    }
  }
}

TEST_CASE("and a reading that contradicts the others is reported there, too") {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    CAPTURE(seed);
    beside_diffuse p(1, 2, 40, 40, false, seed);
    p.both.y(1, 35) += 1e-4 * (1 + p.alone.y.cwiseAbs().maxCoeff());
    CHECK_THROWS_WITH(static_cast<void>(kalscan::filter(kalscan::seq{}, p.both.model, p.both.y)),
                      "kalscan: series 0, step 35: the observation contradicts a prediction that has no variance");
  }
}

TEST_CASE("correlated noise of any rank, with partly missing observations") {
  check_family(model_families::correlated_noise);
}

TEST_CASE("an observation that is a function of the inputs alone") {
  check_family(model_families::inputs_alone);
}

TEST_CASE("components that fade without innovations") {
  check_family(model_families::fading, 12);
  // Chunks keep what has faded to 1e-8 of its first deviation, beside readings that guess it 1e8 times as far from 0.
  for (const std::uint64_t seed : {3'010'010U, 3'110'005U}) {
    CAPTURE(seed);
    const problem_type p = model_families::draw(model_families::fading, seed);
    CHECK(errors_of(kalscan::omp{2, 7}, p, oracle::run_by_scalars(p)).worst() < 1e-12);
  }
}

TEST_CASE("singular transitions and singular process noise") {
  check_family(model_families::singular_transitions);
}

TEST_CASE("constant states, of which later data know far more") {
  check_family(model_families::constant_states);
}

TEST_CASE("two equal sensors and a vague prior give the mean of both") {
  const auto check = [](auto vague, double tolerance) {
    using T = decltype(vague);
    using matrix = Eigen::Matrix<T, Dynamic, Dynamic>;
    const auto all = [](Eigen::Index rows, Eigen::Index cols, double x) {
      return matrix(matrix::Constant(rows, cols, T(x)));
    };
    const kalscan::kalman_model<T, Dynamic, Dynamic> model{
        all(1, 1, 1), all(1, 1, 0.013), all(2, 1, 1), matrix(matrix::Identity(2, 2) * T(0.007)),
        kalscan::gaussian_prior<T, Dynamic>::of_first_state(Eigen::Vector<T, Dynamic>::Zero(1), all(1, 1, vague))};
    const auto f = kalscan::filter(kalscan::omp{1}, model, matrix{{T(6.0)}, {T(6.1)}});
    CHECK(f.mean(0, 0) == doctest::Approx(6.05).epsilon(tolerance));
    CHECK(f.covariance[0](0, 0) == doctest::Approx(0.0035).epsilon(tolerance));
  };
  for (const double vague : {1e11, 1e14, 1e16}) check(vague, 1e-12);
  for (const float vague : {1e5F, 1e6F, 1e8F}) check(vague, 1e-6);
}

TEST_CASE("in float too, several sensors at every step of a state that moves far") {
  generator g{std::mt19937_64(4)};
  const Eigen::MatrixXf one = Eigen::MatrixXf::Ones(1, 1);
  const float_model model{one, Eigen::MatrixXf(one * 1e6F), Eigen::MatrixXf(Eigen::MatrixXf::Ones(2, 1)),
                          Eigen::MatrixXf(0.01F * Eigen::MatrixXf::Identity(2, 2)),
                          kalscan::gaussian_prior<float, Dynamic>::of_first_state(Eigen::VectorXf::Zero(1), one)};
  const oracle::problem<float, Dynamic, Dynamic> p{model, g.normal(2, 50).cast<float>()};
  const auto expected = oracle::run_by_scalars(p);
  for (const auto& policy : policies) {
    const auto f = kalscan::filter(policy, p.model, p.y);
    CHECK(oracle::error_in_deviations(f.mean, f.covariance, expected.mean, expected.covariance, 0) < 1e-4);
  }
}

TEST_CASE(
    "the whole state read exactly again and again adds nothing to the log-likelihood; a contradiction is reported") {
  const MatrixXd H{{0.1, -0.1, 0.6}, {0.1, -0.5, 0.4}, {1.3, 0.9, -0.7}};
  const model_type model{identity(3), zero(3), H, zero(3), prior_type::of_first_state(VectorXd::Zero(3), identity(3))};
  MatrixXd y = Eigen::Vector3d(-0.07, 0.17, -2.23).replicate(1, 6);
  const auto s = kalscan::smooth(kalscan::omp{1}, model, y);
  CHECK(s.filtered.log_likelihood == doctest::Approx(-2.82470287321961).epsilon(1e-13));
  for (std::size_t t = 1; t < 6; ++t) CHECK(s.filtered.log_likelihood_terms[t] == 0);
  CHECK(s.covariance[0].cwiseAbs().maxCoeff() == 0);
  y(1, 3) += 1e-5;
  CHECK_THROWS_WITH(static_cast<void>(kalscan::filter(kalscan::omp{1}, model, y)),
                    "kalscan: series 0, step 3: the observation contradicts a prediction that has no variance");
}

TEST_CASE("where a variance underflows, the smoother goes on") {
  const MatrixXd one = identity(1);
  const model_type fading{MatrixXd(0.5 * one), zero(1), one, one,
                          prior_type::of_first_state(VectorXd::Zero(1), 2 * one)};
  const auto s = kalscan::smooth(kalscan::omp{2, 100}, fading, MatrixXd(MatrixXd::Ones(1, 2000)));
  CHECK(s.covariance[0](0, 0) == doctest::Approx(6.0 / 11).epsilon(1e-13));
  for (std::size_t t = 0; t < 2000; ++t) CHECK(s.covariance[t](0, 0) <= s.filtered.covariance[t](0, 0));
}

TEST_CASE("the prediction of y has a covariance where y is missing") {
  const auto p = oracle::random_problem<double, Dynamic, Dynamic>(3, 2, 30, {.inputs = true, .missing = true}, 12);
  const auto f = kalscan::filter(kalscan::omp{1}, p.model, p.y, {.predictions = true, .innovations = true});
  for (Eigen::Index t = 0; t < 30; ++t) {
    const auto index = static_cast<std::size_t>(t);
    const MatrixXd S = p.model.H[t] * f.predicted_covariance[index] * p.model.H[t].transpose() + p.model.R[t];
    CHECK(f.innovation_covariance[index].isApprox(S, 1e-13));
    for (Eigen::Index i = 0; i < 2; ++i) CHECK(std::isnan(f.innovation(i, t)) == std::isnan(p.y(i, t)));
  }
}

}  // namespace
}  // namespace families_tests
