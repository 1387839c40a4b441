// SPDX-License-Identifier: MIT
// Errors of each form of the matrix filter and smoother on the random models of tests/kalman, and of two kinds that
// only roots serve, against quad precision: rows of a table in Markdown. Compiled against the headers of a commit
// before the square-root form, it prints the rows of the form that was there.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "../tests/kalman/model_families.hpp"
#include "../tests/kalman/quad_oracle.hpp"
#include "../tests/kalman/scalar_oracle.hpp"

namespace {

using Eigen::Dynamic, Eigen::Index, Eigen::MatrixXd, Eigen::VectorXd;
using model_families::problem_type;

/// Sensors that read sums of states under a vague prior.
problem_type oblique_sensors(model_families::generator& g, Index n, Index m) {
  return {{model_families::identity(n), MatrixXd(0.1 * model_families::identity(n)), g.normal(m, n),
           model_families::identity(m),
           model_families::prior_type::of_first_state(g.normal(n, 1), 1e12 * model_families::identity(n))},
          g.normal(m, 30)};
}

/// Constant velocity in two dimensions, pushed along the diagonal alone.
problem_type rank_deficient_pushes(model_families::generator& g, Index, Index) {
  MatrixXd F = MatrixXd::Identity(4, 4), H = MatrixXd::Zero(2, 4);
  F(0, 2) = F(1, 3) = H(0, 0) = H(1, 1) = 1;
  problem_type p{
      {F, MatrixXd::Constant(4, 4, 0.125), H, MatrixXd(7 * MatrixXd::Identity(2, 2)),
       model_families::prior_type::before_first_step(VectorXd::Zero(4), MatrixXd(500 * MatrixXd::Identity(4, 4)))},
      MatrixXd(2, 20'000)};
  VectorXd x = VectorXd::Zero(4);
  for (Index t = 0; t < p.y.cols(); ++t) {
    x = (F * x).eval().array() + std::sqrt(0.125) * 0.01 * g.normal(1, 1)(0);
    p.y.col(t) = H * x + std::sqrt(7.0) * g.normal(2, 1);
  }
  return p;
}

struct errors {
  double filtered = 0, smoothed = 0, log_likelihood = 0;
  int lost = 0, thrown = 0;
};

/// The worst errors in standard deviations of each component's own belief, and of the log-likelihood relative to it and
/// to the number of observations. What is known better than to the root of the type's precision is compared on that
/// scale.
template <class T, class Run>
void measure(const oracle::problem<T, Dynamic, Dynamic>& p, const oracle::beliefs& expected, Run run, errors& sum) {
  const oracle::real exact = std::sqrt(static_cast<oracle::real>(std::numeric_limits<T>::epsilon()));
  const oracle::real largest =
      std::sqrt(p.model.prior.covariance.diagonal().maxCoeff() + p.model.Q[0].diagonal().maxCoeff());
  for (const auto& policy : {kalscan::omp{1, 1 << 20}, kalscan::omp{2, 7}}) {
    try {
      const auto s = run(policy, p);
      const auto& f = s.filtered;
      const double filtered =
          oracle::error_in_deviations(f.mean, f.covariance, expected.mean, expected.covariance, largest, exact);
      const double smoothed = oracle::error_in_deviations(s.mean, s.covariance, expected.smoothed_mean,
                                                          expected.smoothed_covariance, largest, exact);
      const double size = static_cast<double>(p.y.size()) + std::abs(static_cast<double>(expected.log_likelihood));
      double likelihood =
          std::abs(static_cast<double>(f.log_likelihood) - static_cast<double>(expected.log_likelihood)) / size;
      if (!(likelihood < 1e30)) likelihood = std::numeric_limits<double>::infinity();
      sum.filtered = std::max(sum.filtered, filtered);
      sum.smoothed = std::max(sum.smoothed, smoothed);
      sum.log_likelihood = std::max(sum.log_likelihood, likelihood);
      if (std::max({filtered, smoothed, likelihood}) > (sizeof(T) < sizeof(double) ? 1e-2 : 1e-8)) ++sum.lost;
    } catch (const kalscan::filter_error&) {
      ++sum.thrown;
    }
  }
}

struct row {
  std::string form;
  errors in_double{}, in_float{};
};

template <class Run>
void measure_both(const problem_type& p, const oracle::beliefs& expected,
                  const oracle::problem<float, Dynamic, Dynamic>& short_p, const oracle::beliefs& short_expected,
                  Run run, row& r) {
  measure(p, expected, run, r.in_double);
  measure(short_p, short_expected, run, r.in_float);
}

void print(const std::string& family, int runs, const row& r) {
  std::printf("| %s | %d | %s |", family.c_str(), runs, r.form.c_str());
  for (const errors& e : {r.in_double, r.in_float})
    std::printf(" %.0e | %.0e | %.0e | %d | %d |", e.filtered, e.smoothed, e.log_likelihood, e.lost, e.thrown);
  std::printf("\n");
  std::fflush(stdout);
}

template <class T>
oracle::beliefs run_oracle(const oracle::problem<T, Dynamic, Dynamic>& p) {
  return p.y.cols() > 1000 ? quad::run(p.model, p.y, true)
                           : oracle::run_by_scalars(p);  // the latter knows all models, slowly
}

}  // namespace

/// Arguments: the first seed, 1 if not given.
int main(int count, char** arguments) {
  const std::uint64_t first = count > 1 ? std::strtoull(arguments[1], nullptr, 10) : 1;
  auto families = model_families::all;
  families.push_back({"sensors of sums, prior variance 1e12", oblique_sensors});
  families.push_back({"rank-deficient pushes, 20,000 steps", rank_deficient_pushes, 1});
  std::printf(
      "| family | runs | form | double: filter | smoother | log-likelihood | lost | thrown "
      "| float: filter | smoother | log-likelihood | lost | thrown "
      "|\n|---|---|---|---|---|---|---|---|---|---|---|---|---|\n");
  for (const auto& family : families) {
#if __has_include(<kalscan/kalman/square_root.hpp>)
    row one_by_one{"one at a time"}, roots{"square root"};
#else
    row joint{"joint"};
#endif
    for (int k = 0; k < family.count; ++k) {
      const auto p = model_families::draw(family.draw, first + static_cast<std::uint64_t>(k));
      const oracle::problem<float, Dynamic, Dynamic> short_p{oracle::convert<float, Dynamic, Dynamic>(p.model),
                                                             p.y.cast<float>()};
      const auto expected = run_oracle(p), short_expected = run_oracle(short_p);
      const auto smooth = [](const auto& policy, const auto& q) { return kalscan::smooth(policy, q.model, q.y); };
#if __has_include(<kalscan/kalman/square_root.hpp>)
      measure_both(p, expected, short_p, short_expected, smooth, one_by_one);
      const auto smooth_roots = [](const auto& policy, const auto& q) {
        return kalscan::smooth(policy, kalscan::square_root{q.model}, q.y);
      };
      measure_both(p, expected, short_p, short_expected, smooth_roots, roots);
#else
      measure_both(p, expected, short_p, short_expected, smooth, joint);
#endif
    }
#if __has_include(<kalscan/kalman/square_root.hpp>)
    print(family.name, 2 * family.count, one_by_one);
    print(family.name, 2 * family.count, roots);
#else
    print(family.name, 2 * family.count, joint);
#endif
  }
}
