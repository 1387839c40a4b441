// SPDX-License-Identifier: MIT
// A prior must be given; the final belief of a filter can be one.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <string>

#include <Eigen/QR>

#include "../errors.hpp"
#include "../instrument.hpp"
#include "diffuse_families.hpp"
#include "oracle.hpp"
#include "shared.hpp"

namespace prior_tests {
namespace {

using Eigen::Dynamic;
using Eigen::Index;
using model_type = kalscan::kalman_model<double, Dynamic, Dynamic>;
using data_type = kalscan::observations<double, Dynamic>;
using matrix = Eigen::MatrixXd;
using prior_type = kalscan::gaussian_prior<double, Dynamic>;

TEST_CASE("a model whose prior is not given is refused, whether its sizes are fixed or not") {
  const Eigen::MatrixXd one = Eigen::MatrixXd::Identity(1, 1);
  const auto starts = [](const std::string& message) { return message.substr(0, 36); };
  const data_type y = data_type::Ones(1, 3);
  model_type dynamic;
  dynamic.F = dynamic.Q = dynamic.H = dynamic.R = one;
  CHECK(starts(message_of([&] { static_cast<void>(kalscan::filter(kalscan::seq{}, dynamic, y)); })) ==
        "kalscan: the prior is not given: set");
  const Eigen::Matrix<double, 1, 1> fixed_one(1);
  const kalscan::kalman_model<double, 1, 1> fixed{fixed_one, fixed_one, fixed_one, fixed_one};
  CHECK(starts(message_of([&] { kalscan::detail::check_model(fixed, kalscan::detail::steps_of_data(3)); })) ==
        "kalscan: the prior is not given: set");
  auto half = fixed;
  half.prior.mean.setZero();
  CHECK(message_of([&] { kalscan::detail::check_model(half, kalscan::detail::steps_of_data(3)); }) ==
        "kalscan: the prior's covariance is not finite: (0, 0) = nan");
}

/// The worst difference, in standard deviations or in 1e-4 where these are smaller; 1 where one belief is improper and
/// the other not.
double difference(const kalscan::filter_result<double, Dynamic, Dynamic>& whole,
                  const kalscan::filter_result<double, Dynamic, Dynamic>& part, Index first) {
  double worst = 0;
  for (Index t = 0; t < part.mean.cols(); ++t) {
    const auto i = static_cast<std::size_t>(t), j = static_cast<std::size_t>(first + t);
    if ((i < part.diffuse.size()) != (j < whole.diffuse.size())) return 1;
    const Eigen::MatrixXd& P = whole.covariance[j];
    const Eigen::VectorXd sd = P.diagonal().cwiseMax(0).cwiseSqrt().array() + 1e-4;
    const auto scaled = [&](const Eigen::MatrixXd& x) {
      return (sd.cwiseInverse().asDiagonal() * x * sd.cwiseInverse().asDiagonal()).cwiseAbs().maxCoeff();
    };
    const Eigen::VectorXd mean = whole.mean.col(first + t), size = sd + 1e-4 * mean.cwiseAbs();
    worst = std::max(
        {worst, (part.mean.col(t) - mean).cwiseQuotient(size).cwiseAbs().maxCoeff(), scaled(part.covariance[i] - P)});
    if (i < part.diffuse.size()) {
      worst = std::max(worst, (part.diffuse[i] - whole.diffuse[j]).cwiseAbs().maxCoeff() / whole.diffuse[j].maxCoeff());
    }
    const double term = whole.log_likelihood_terms[j];
    worst = std::max(worst, std::abs(part.log_likelihood_terms[i] - term) / (1 + std::abs(term)));
  }
  return std::isfinite(worst) ? worst : 1;
}

/// Filters y in two parts.
kalscan::filter_result<double, Dynamic, Dynamic> continued(const model_type& model, const data_type& y, Index first) {
  const auto beginning = kalscan::filter(kalscan::seq{}, model.steps(0, first), y.leftCols(first));
  auto rest = model.steps(first, y.cols());
  rest.prior = kalscan::prior_after(beginning);
  return kalscan::filter(kalscan::seq{}, rest, y.rightCols(y.cols() - first));
}

TEST_CASE("a series filtered in two parts is the same series, to the bit where all noise is definite") {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    CAPTURE(seed);
    const bool definite = seed % 3 != 0;
    const oracle::kind k{
        .varying = seed % 2 == 0, .inputs = seed % 5 < 2, .missing = seed % 7 < 3, .before_first = seed % 4 == 0};
    auto [model, y] = oracle::random_problem<double, Dynamic, Dynamic>(1 + seed % 4, 1 + seed % 2, 20, k, seed);
    if (!definite) model.R = Eigen::MatrixXd(Eigen::MatrixXd::Zero(y.rows(), y.rows()));
    const auto whole = kalscan::filter(kalscan::seq{}, model, y);
    for (const Index first : {1, 9, 19}) {
      const auto part = continued(model, y, first);
      CHECK(difference(whole, part, first) <= (definite ? 0 : 1e-10));
    }
  }
}

/// Cut anywhere up to step `last`.
void check_parts(const model_type& model, const data_type& y, Index last, double bound) {
  const auto whole = kalscan::filter(kalscan::seq{}, model, y);
  for (Index first = 1; first <= last; ++first) {
    CAPTURE(first);
    CHECK(difference(whole, continued(model, y, first), first) < bound);
  }
}

TEST_CASE("a series under a diffuse prior filtered in two parts is the same series, wherever it is cut") {
  const auto check = [](const diffuse_families::family& family, std::uint64_t seed) {
    CAPTURE(family.name);
    CAPTURE(seed);
    diffuse_families::source draw(seed);
    const auto [model, y] = family.make(draw);
    check_parts(model, y, y.cols() - 1, 1e-6);
  };
  for (const auto& family : diffuse_families::all) {
    for (std::uint64_t seed = 1; seed <= unless_slow(60U, 8U); ++seed) check(family, seed);
  }
  // What is known exactly has a covariance of rounding, but no root. A coefficient is zero in some coordinates of what is
  // unknown, and rounding in others.
  for (const std::uint64_t seed : {610U, 764U, 394U}) check(diffuse_families::all[0], seed);
}

TEST_CASE("what readings tell apart only over many steps goes on with all its digits where a series is cut") {
  const data_type y{{1, 4, 2, 5, 3, 1, 4, 2}};
  const auto check = [&](const Eigen::VectorXd& decays, double variance, double bound) {
    CAPTURE(variance);
    const Index n = decays.size();
    const model_type model{matrix(decays.asDiagonal()), matrix(variance * matrix::Identity(n, n)),
                           matrix(matrix::Ones(1, n)), matrix(matrix::Ones(1, 1)), prior_type::all_diffuse(n)};
    check_parts(model, y, y.cols() - 1, bound);
    double sum = 0;  // of the log-densities of single steps, each filtered with what those before tell
    auto step = model.steps(0, 1);
    for (Index t = 0; t < y.cols(); ++t) {
      const auto result = kalscan::filter(kalscan::seq{}, step, y.col(t).eval());
      sum += result.log_likelihood;
      step.prior = kalscan::prior_after(result);
    }
    CHECK(std::abs(sum - kalscan::log_likelihood(kalscan::seq{}, model, y)) < 1e-11);
  };
  for (const double variance : {0.0, 1e-6}) {
    check(Eigen::Vector3d(1, 1 - 0x1p-24, 1 - 0x1p-25), variance, 1e-7);  // some mean that the data allow at step 1
    check(Eigen::Vector4d(1, 1 - 0x1p-10, 1 - 0x1p-11, 1 - 0x1p-12), variance, 1e-12);
  }
}

TEST_CASE("a series filtered in two parts remembers which directions were read without noise") {
  double worst = 0;
  for (unsigned seed = 1; seed <= 50; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 engine(seed);
    Eigen::MatrixXd H(3, 3);
    Eigen::VectorXd x(3);
    oracle::fill_normal(H, engine), oracle::fill_normal(x, engine);
    // Two exact readings and a precise one leave covariances that are rounding, but for a line.
    const auto row = [&](Index i) { return Eigen::MatrixXd(H.row(i)); };
    const auto noise = [](double r) { return Eigen::MatrixXd(Eigen::MatrixXd::Constant(1, 1, r)); };
    const Eigen::MatrixXd I = Eigen::MatrixXd::Identity(3, 3);
    const model_type model{I, Eigen::MatrixXd(I * 0), std::vector{row(0), row(1), row(2), row(0), row(1)},
                           std::vector{noise(0), noise(0), noise(1e-8), noise(0), noise(0)},
                           prior_type::of_first_state(Eigen::VectorXd::Zero(3), I * 1e8)};
    data_type y(1, 5);
    for (Index t = 0; t < 5; ++t) y(0, t) = (model.H[t] * x)(0);
    const auto part = continued(model, y, 3);
    worst = std::max({worst, std::abs(part.log_likelihood_terms[0]), std::abs(part.log_likelihood_terms[1])});
  }
  CHECK(worst == 0);  // what is known adds nothing
}

TEST_CASE("diffuse directions that are components are diffuse components") {
  diffuse_families::source draw(5);
  const auto drawn = diffuse_families::in_part(draw);
  model_type model = drawn.model;
  const data_type& y = drawn.y;
  const auto flagged = kalscan::filter(kalscan::seq{}, model, y);
  const Index n = model.states();
  model.prior.directions.resize(n, 0);
  for (Index i = 0; i < n; ++i) {
    if (!model.prior.diffuse[static_cast<std::size_t>(i)]) continue;
    model.prior.mean(i) = 0;
    model.prior.directions.conservativeResize(n, model.prior.directions.cols() + 1);
    model.prior.directions.rightCols(1) = Eigen::VectorXd::Unit(n, i);
  }
  model.prior.diffuse.clear();
  const auto directed = kalscan::filter(kalscan::seq{}, model, y);
  CHECK(directed.mean == flagged.mean);
  CHECK(directed.log_likelihood == flagged.log_likelihood);
  model.prior.directions = Eigen::MatrixXd::Ones(n + 1, 1);
  CHECK(message_of([&] { static_cast<void>(kalscan::filter(kalscan::seq{}, model, y)); }) ==
        "kalscan: the prior's directions are " + std::to_string(n + 1) + " x 1: give one a column, of " +
            std::to_string(n) + " states");
  model.prior.directions = Eigen::MatrixXd::Ones(n, 1);
  model.prior.directions_rounding = Eigen::MatrixXd::Zero(n, 3);
  CHECK(message_of([&] { static_cast<void>(kalscan::filter(kalscan::seq{}, model, y)); }) ==
        "kalscan: the prior's directions_rounding is " + std::to_string(n) + " x 3, not " + std::to_string(n) + " x 4");
}

/// By how much the log-likelihood of a series differs from the sum of those of its two parts.
double lost_at(const model_type& model, const data_type& y, Index cut) {
  const auto first = kalscan::filter(kalscan::seq{}, model.steps(0, cut), y.leftCols(cut));
  auto rest = model.steps(cut, y.cols());
  rest.prior = kalscan::prior_after(first);
  const double second = kalscan::log_likelihood(kalscan::seq{}, rest, y.rightCols(y.cols() - cut));
  return std::abs(first.log_likelihood + second - kalscan::log_likelihood(kalscan::seq{}, model, y));
}

TEST_CASE("what was read without noise stays known where the rest of the prior is improper") {
  const Eigen::RowVector3d exact(0.6, 0.7, 0), noisy(1, 0, 0), last(0, 0, 1), truth(0.3, -0.7, 5);
  for (const double vague : {1e2, 1e6, 1e10}) {
    std::vector<matrix> H, R;
    data_type y(1, 8);
    for (Index t = 0; t < 8; ++t) {
      const bool reads_exactly = t == 0 || t == 3 || t == 5;
      H.emplace_back(reads_exactly ? exact : t < 6 ? noisy : last);
      R.emplace_back(matrix::Constant(1, 1, reads_exactly ? 0 : 1e-6));
      y(0, t) = H.back().row(0).dot(truth);
    }
    auto prior =
        prior_type::of_first_state(Eigen::VectorXd::Zero(3), matrix(Eigen::Vector3d(vague, vague, 0).asDiagonal()));
    prior.diffuse = {false, false, true};
    const model_type model{matrix(matrix::Identity(3, 3)), matrix(matrix::Zero(3, 3)), H, R, prior};
    for (const Index cut : {2, 3, 4, 5}) {
      CAPTURE(cut);
      CHECK(lost_at(model, y, cut) < 1e-6);
    }
  }
}

/// States at rest or turning, of which one combination is read exactly now and then, between noisy readings; the last
/// ones are diffuse and read last. Data as the model makes them, with the rounding of a simulation in double.
oracle::problem<double, Dynamic, Dynamic> exact_and_noisy(std::uint64_t seed) {
  std::mt19937_64 engine(seed);
  const auto n = static_cast<Index>(3 + seed % 4), unseen = static_cast<Index>(1 + seed % 2), length = Index(14);
  const auto draw = [&](Index rows, Index cols) {
    matrix x(rows, cols);
    oracle::fill_normal(x, engine);
    return matrix((8 * x).array().round() / 8);
  };
  const Index seen = n - unseen;
  matrix F = matrix::Identity(n, n), Q = matrix::Zero(n, n);
  const matrix turn = Eigen::HouseholderQR<matrix>(draw(seen, seen)).householderQ();
  if (seed % 3 != 0) F.topLeftCorner(seen, seen) = turn;
  const matrix noise = draw(seen, 1);
  if (seed % 7 == 0) Q.topLeftCorner(seen, seen) = noise * noise.transpose();
  matrix exact = draw(1, n);
  exact.rightCols(unseen).setZero();
  matrix x = draw(n, 1);
  std::vector<matrix> H, R;
  data_type y(1, length);
  for (Index t = 0; t < length; ++t) {
    const bool early = t < length - 4, reads_exactly = early && engine() % 2 == 0;
    H.push_back(reads_exactly ? exact : draw(1, n));
    if (early) H.back().rightCols(unseen).setZero();
    R.emplace_back(matrix::Constant(1, 1, reads_exactly ? 0 : 1e-2));
    y(0, t) = (H.back() * x)(0) + (reads_exactly ? 0 : 0.1 * draw(1, 1)(0));
    x = F * x;
    if (seed % 7 == 0) x.topRows(seen) += noise * draw(1, 1)(0);
  }
  const double vague = seed % 5 == 0 ? 1e6 : 10;
  auto prior = prior_type::of_first_state(Eigen::VectorXd::Zero(n), matrix(vague * matrix::Identity(n, n)));
  prior.diffuse.resize(static_cast<std::size_t>(n));
  std::fill_n(prior.diffuse.rbegin(), unseen, true);
  prior.covariance.bottomRightCorner(unseen, unseen).setZero();
  return {{F, Q, H, R, prior}, y};
}

TEST_CASE("and in models of several states, at rest or turning, with noisy readings between the exact ones") {
  // KALSCAN_SEED and KALSCAN_MODELS: other models, and more.
  const char *seed = std::getenv("KALSCAN_SEED"), *models = std::getenv("KALSCAN_MODELS");
  const std::uint64_t first = seed ? std::strtoull(seed, nullptr, 10) : 1;
  const std::uint64_t count = models ? std::strtoull(models, nullptr, 10) : 400;
  const auto check = [](std::uint64_t i) {
    CAPTURE(i);
    const auto [model, y] = exact_and_noisy(i);
    for (Index cut = 2; cut < y.cols() - 1; ++cut) {
      CAPTURE(cut);
      double lost = 1;
      CHECK_NOTHROW(lost = lost_at(model, y, cut));
      CHECK(lost < 1e-6);
    }
  };
  for (std::uint64_t i = first; i < first + count; ++i) check(i);
  // Data that are zero, as the states are: rounding errors fade with them.
  for (const std::uint64_t i : {10'700U, 17'288U, 47'188U}) check(i);
  // A shock that the exact sensor does not read, after this has read again what is known.
  for (const std::uint64_t i : {12'726U, 17'934U, 24'738U}) check(i);
  // The rounding of a root, and of the part before, in what is known.
  for (const std::uint64_t i : {421U, 5'597U, 6'735U, 12'930U, 45'537U}) check(i);
}

TEST_CASE("the square-root form goes on from a prior with the bits of the one series") {
  const auto [model, y] = oracle::random_problem<double, Dynamic, Dynamic>(3, 2, 20, {}, 5);
  const auto whole = kalscan::filter(kalscan::seq{}, kalscan::square_root{model}, y);
  auto rest = model;
  rest.prior = kalscan::prior_after(kalscan::filter(kalscan::seq{}, kalscan::square_root{model}, y.leftCols(8).eval()));
  const auto part = kalscan::filter(kalscan::seq{}, kalscan::square_root{rest}, y.rightCols(12).eval());
  CHECK(part.mean == whole.mean.rightCols(12));
  CHECK(part.covariance_root.back() == whole.covariance_root.back());
}

TEST_CASE("a root that is not that of the prior's covariance is refused") {
  auto [model, y] = oracle::random_problem<double, Dynamic, Dynamic>(2, 1, 3, {}, 5);
  model.prior.covariance = 4 * matrix::Identity(2, 2);
  const auto filter = [&model = model, &y = y] { static_cast<void>(kalscan::filter(kalscan::seq{}, model, y)); };
  model.prior.root = matrix(2 * matrix::Identity(2, 2));
  CHECK_NOTHROW(filter());
  model.prior.root(1, 1) = 3;
  CHECK(message_of(filter) ==
        "kalscan: the prior's root does not belong to its covariance: row 1 has the squared length 9, the variance is 4");
  model.prior.root = matrix::Ones(3, 1);
  CHECK(message_of(filter) == "kalscan: the prior's root is 3 x 1, its covariance 2 x 2");
  model.prior.root = matrix(2 * matrix::Identity(2, 2));
  model.prior.rest = matrix::Zero(2, 2);
  CHECK(message_of(filter) == "kalscan: the prior's rest is 2 x 2, not 2 x 3: a column for the mean, and one for each of the root");
}

TEST_CASE("a part of a model that it does not have is refused") {
  const auto model = oracle::random_problem<double, Dynamic, Dynamic>(2, 1, 10, {.varying = true}, 1).model;
  CHECK(message_of([&] { static_cast<void>(model.steps(4, 11)); }) ==
        "kalscan: steps 4 to 11 are not in F, which is given for 10");
  CHECK(message_of([&] { static_cast<void>(model.steps(3, 2)); }) ==
        "kalscan: steps 3 to 2 are no steps");
  CHECK(message_of([&] { static_cast<void>(kalscan::prior_after(kalscan::filter_result<double, 1, 1>{})); }) ==
        "kalscan: the filter result is empty: it has no last belief");
}

}  // namespace
}  // namespace prior_tests
