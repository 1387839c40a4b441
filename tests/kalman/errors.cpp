// SPDX-License-Identifier: MIT
// What a model lacks, or has too much of, is said with its sizes and with what to do.
#include <doctest/doctest.h>

#include <kalscan/backend/seq.hpp>
#include <kalscan/kalman/filter.hpp>
#include <kalscan/kalman/functions/model.hpp>
#include <kalscan/kalman/online_filter.hpp>
#include <kalscan/kalman/smoother.hpp>
#include <kalscan/kalman/square_root.hpp>
#include <string>
#include <vector>

#include "../errors.hpp"
#include "shared.hpp"

namespace errors_tests {
namespace {

using model_type = kalscan::kalman_model<double, 2, 1>;
using matrix = Eigen::MatrixXd;
using kalscan::observations;

/// x' = F x + B u, of which the first component is observed, D u added.
model_type good_model() {
  return {Eigen::Matrix2d::Identity(), Eigen::Matrix2d::Identity(), Eigen::RowVector2d(1, 0),
          Eigen::Matrix<double, 1, 1>(1),
          kalscan::gaussian_prior<double, 2>::of_first_state(Eigen::Vector2d::Zero(), Eigen::Matrix2d::Identity())};
}

template <class Change>
std::string refused(Change change, const observations<double, 1>& y = observations<double, 1>::Zero(1, 4)) {
  model_type model = good_model();
  change(model);
  return message_of([&] { return kalscan::filter(kalscan::seq{}, model, y); });
}

TEST_CASE("a transposed matrix is recognized, whether its size is fixed or not") {
  CHECK(refused([](model_type& m) { m.H = matrix(matrix::Ones(2, 1)); }) ==
        "kalscan: H is 2 x 1, not 1 x 2: give its transpose");
  CHECK(refused([](model_type& m) { m.H = matrix(matrix::Ones(3, 2)); }) == "kalscan: H is 3 x 2, not 1 x 2");
  CHECK(refused([](model_type& m) { m.F = matrix(matrix::Ones(3, 3)); }) == "kalscan: F is 3 x 3, not 2 x 2");
  CHECK(refused([](model_type& m) {
          m.D = matrix(matrix::Ones(3, 1));
          m.u = matrix::Ones(3, 4);
        }) == "kalscan: D is 3 x 1, not 1 x 3: give its transpose");
  kalscan::kalman_model<double, Eigen::Dynamic, Eigen::Dynamic> model{
      matrix(matrix::Identity(3, 3)), matrix(matrix::Identity(3, 3)), matrix(matrix::Ones(3, 2)),
      matrix(matrix::Identity(2, 2)), {Eigen::VectorXd::Zero(3), matrix::Identity(3, 3)}};
  const matrix y = matrix::Zero(2, 4);
  CHECK(message_of([&] { return kalscan::filter(kalscan::seq{}, model, y); }) ==
        "kalscan: H is 3 x 2, not 2 x 3: give its transpose");
}

TEST_CASE("inputs without their matrices, and matrices without inputs") {
  CHECK(refused([](model_type& m) { m.B = matrix(matrix::Ones(2, 3)); }) ==
        "kalscan: B is given, u is not: give u, the 3 inputs of each step as a column, or leave B out");
  CHECK(refused([](model_type& m) { m.D = matrix(matrix::Ones(1, 3)); }) ==
        "kalscan: D is given, u is not: give u, the 3 inputs of each step as a column, or leave D out");
  CHECK(refused([](model_type& m) { m.u = matrix::Ones(3, 4); }) ==
        "kalscan: u is given, B and D are not: give B (n x k) or D (m x k), or leave u out");
}

TEST_CASE("steps fewer or more than the data have are refused, for every matrix and for u") {
  const auto of = [](const std::string& name, int steps) {
    return "kalscan: " + name + " is given for " + std::to_string(steps) +
           " steps, the data have 4: give one a step (F_t, Q_t and B_t lead to step t), or one for all";
  };
  const auto many = [](const auto& x, int steps) {
    return std::vector(static_cast<std::size_t>(steps), Eigen::Matrix<double, std::decay_t<decltype(x)>::RowsAtCompileTime,
                                                                      std::decay_t<decltype(x)>::ColsAtCompileTime>(x));
  };
  using inputs_to_state = Eigen::Matrix<double, 2, Eigen::Dynamic>;
  using inputs_to_observed = Eigen::Matrix<double, 1, Eigen::Dynamic>;
  for (const int steps : {3, 5}) {
    const auto with_u = [](model_type& m) { m.u = matrix::Ones(1, 4); };
    CHECK(refused([&](model_type& m) { m.F = many(m.F[0], steps); }) == of("F", steps));
    CHECK(refused([&](model_type& m) { m.Q = many(m.Q[0], steps); }) == of("Q", steps));
    CHECK(refused([&](model_type& m) { m.H = many(m.H[0], steps); }) == of("H", steps));
    CHECK(refused([&](model_type& m) { m.R = many(m.R[0], steps); }) == of("R", steps));
    CHECK(refused([&](model_type& m) { with_u(m), m.B = many(inputs_to_state::Ones(2, 1), steps); }) == of("B", steps));
    CHECK(refused([&](model_type& m) { with_u(m), m.D = many(inputs_to_observed::Ones(1, 1), steps); }) ==
          of("D", steps));
    CHECK(refused([&](model_type& m) { m.B = matrix(matrix::Ones(2, 1)), m.u = matrix::Ones(1, steps); }) ==
          "kalscan: u has " + std::to_string(steps) + " columns, the data have 4 steps: give one column a step");
  }
  CHECK(refused([&](model_type& m) { m.F = many(m.F[0], 4); }) == "no std::invalid_argument");
}

TEST_CASE("of series of several lengths the longest counts, and a part of them can be smoothed") {
  model_type model = good_model();
  model.F = std::vector<Eigen::Matrix2d>(4, Eigen::Matrix2d::Identity());
  const std::vector<observations<double, 1>> batch{observations<double, 1>::Zero(1, 2),
                                                   observations<double, 1>::Zero(1, 4)};
  const auto filtered = kalscan::filter(kalscan::seq{}, model, batch);
  const auto all = kalscan::smooth(kalscan::seq{}, model, filtered);
  const auto first = kalscan::smooth(kalscan::seq{}, model, std::vector{filtered[0]});
  CHECK(first[0].mean == all[0].mean);
  CHECK(kalscan::filter(kalscan::seq{}, model, std::vector<observations<double, 1>>{}).empty());
}

TEST_CASE("data of other rows than H are refused in any matrix type; a vector may stand or lie") {
  const model_type model = good_model();
  const kalscan::seq seq;
  const Eigen::VectorXd steps = Eigen::VectorXd::LinSpaced(5, 1, 2);
  const double expected = kalscan::log_likelihood(seq, model, observations<double, 1>(steps.transpose()));
  CHECK(kalscan::log_likelihood(seq, model, steps) == expected);
  CHECK(kalscan::log_likelihood(seq, model, matrix(steps.transpose())) == expected);
  CHECK(kalscan::filter(seq, model, matrix(steps.transpose()).leftCols(3)).mean.cols() == 3);
  const std::string told = "kalscan: y is 5 x 1, but H has 1 rows: give a column of so many for each step";
  CHECK(message_of([&] { return kalscan::filter(seq, model, matrix(steps)); }) == told);
  CHECK(message_of([&] { return kalscan::log_likelihood(seq, model, matrix(steps)); }) == told);
  CHECK(message_of([&] { return kalscan::smooth(seq, model, matrix(steps)); }) == told);
  CHECK(message_of([&] { return kalscan::filter(seq, kalscan::square_root{model}, matrix(steps)); }) == told);
  const kalscan::online_filter online(model);
  CHECK(message_of([&] { return online.update(online.start(), steps, 0); }) ==
        "kalscan: y is 5 x 1, but H has 1 rows: give a column of so many for each step");
}

TEST_CASE("a result that lost a part of what the smoother needs is refused") {
  model_type model = good_model();
  const kalscan::seq seq;
  const observations<double, 1> y = observations<double, 1>::Ones(1, 4);
  const auto filtered = kalscan::filter(seq, model, y);
  const auto refused_with = [&](auto change) {
    auto x = filtered;
    change(x);
    return message_of([&] { return kalscan::smooth(seq, model, x); });
  };
  CHECK(refused_with([](auto&) {}) == "no std::invalid_argument");
  CHECK(refused_with([](auto& x) { x.y.resize(1, 0); }) ==
        "kalscan: the filter result of series 0 has y of 1 x 0, not 1 x 4: the data are smoothed with it");
  CHECK(refused_with([](auto& x) { x.covariance.pop_back(); }) ==
        "kalscan: the filter result of series 0 has 3 covariances and 4 means");
  model.R = Eigen::Matrix<double, 1, 1>(0);
  auto exact = kalscan::filter(seq, model, y);
  exact.rounding.clear();
  CHECK(message_of([&] { return kalscan::smooth(seq, model, exact); }) ==
        "kalscan: the filter result of series 0 has 0 bounds on rounding and 4 means");
  using dynamic = kalscan::kalman_model<double, Eigen::Dynamic, Eigen::Dynamic>;
  const dynamic any{matrix(matrix::Identity(2, 2)), matrix(matrix::Identity(2, 2)), matrix(matrix::Ones(1, 2)),
                    matrix(matrix::Identity(1, 1)), {Eigen::VectorXd::Zero(2), matrix::Identity(2, 2)}};
  auto other = kalscan::filter(seq, any, matrix(matrix::Ones(1, 4)));
  other.covariance[2].resize(1, 1);
  CHECK(message_of([&] { return kalscan::smooth(seq, any, other); }) ==
        "kalscan: the filter result of series 0 has covariances of 1 x 1, not 2 x 2");
}

TEST_CASE("the sizes of a model that has no matrices yet are not there") {
  const model_type none;
  CHECK(message_of([&] { return none.states(); }) == "kalscan: F is not given");
  CHECK(message_of([&] { return none.observed(); }) == "kalscan: H is not given");
}

TEST_CASE("a model of constants is checked before it becomes one of functions") {
  model_type model = good_model();
  CHECK(message_of([&] { return kalscan::constant_model(model); }) == "no std::invalid_argument");
  model.F = matrix(matrix::Ones(3, 3));
  CHECK(message_of([&] { return kalscan::constant_model(model); }) == "kalscan: F is 3 x 3, not 2 x 2");
  model = good_model();
  model.Q = Eigen::Matrix2d{{-1, 0}, {0, 1}};
  CHECK(message_of([&] { return kalscan::constant_model(model); }).starts_with("kalscan: Q"));
}

}  // namespace
}  // namespace errors_tests
