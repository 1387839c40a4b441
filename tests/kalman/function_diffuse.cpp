// SPDX-License-Identifier: MIT
// Exactly diffuse priors of models of functions against exact conditioning, in chunks of any length.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <iterator>
#include <limits>
#include <string>
#include <vector>

#include "../instrument.hpp"
#include "by_functions.hpp"
#include "diffuse_families.hpp"
#include "diffuse_oracle.hpp"

namespace function_diffuse_tests {
namespace {

using by_functions::model_type, by_functions::series_type;
using Eigen::Index, Eigen::MatrixXd;

constexpr double bound = 1e-6;  // most are within 1e-13
constexpr std::int64_t whole = kalscan::detail::steps_from_start;  // no series here is longer

/// Of a belief of step t, which is improper where the `diffuse` covariance of its step is not zero.
double defect(const diffuse_oracle::belief& expected, const MatrixXd& mean, const MatrixXd& covariance,
              const std::vector<MatrixXd>& diffuse, std::size_t t) {
  const bool proper = t >= diffuse.size() || diffuse[t].isZero(0);
  return diffuse_oracle::defect(expected, mean, covariance, proper ? nullptr : &diffuse[t]);
}

struct errors {
  double filtered = 0, smoothed = 0, log_likelihood = 0;
};

errors errors_of(const by_functions::result_type& s, const diffuse_oracle::conditioning& expected) {
  const auto& f = s.filtered;
  errors e;
  for (std::size_t t = 0; t < expected.filtered.size(); ++t) {
    const auto column = static_cast<Index>(t);
    e.filtered = std::max({e.filtered, defect(expected.filtered[t], f.mean.col(column), f.covariance[t], f.diffuse, t),
                           defect(expected.predicted[t], f.predicted_mean.col(column), f.predicted_covariance[t],
                                  f.predicted_diffuse, t)});
    e.smoothed = std::max(e.smoothed, defect(expected.smoothed[t], s.mean.col(column), s.covariance[t], s.diffuse, t));
  }
  const double total = expected.log_likelihood(), off = std::abs(f.log_likelihood - total) / (1 + std::abs(total));
  e.log_likelihood = std::isfinite(off) ? off : 1;
  return e;
}

std::uint64_t number_of(const char* variable, std::uint64_t otherwise) {
  const char* given = std::getenv(variable);
  return given ? std::strtoull(given, nullptr, 10) : otherwise;
}

/// Up to 8 states, that are seen late and through gaps, or not at all; diffuse in part.
diffuse_families::problem large(diffuse_families::source& draw) {
  const Index n = draw.in(1, 8), m = draw.in((n + 2) / 3, std::min<Index>(n, 4)), length = 12;
  MatrixXd prior_root = draw.normals(n, n);
  diffuse_families::problem p{{0.9 * diffuse_families::identity(n) + 0.2 / std::sqrt(static_cast<double>(n)) * draw.normals(n, n), draw.covariance(n, draw.in(0, n)) / 4,
                               draw.normals(m, n), diffuse_families::identity(m), diffuse_families::all_diffuse(n)},
                              draw.normals(m, length)};
  if (draw.one_in(4)) {  // one that is never seen, nor seen by others
    MatrixXd F = p.model.F[0], H = p.model.H[0];
    F.col(n - 1).setZero(), H.col(n - 1).setZero(), F(n - 1, n - 1) = 1;
    p.model.F = F, p.model.H = H;
  }
  if (draw.one_in(3)) {
    for (std::size_t i = 0; i < p.model.prior.diffuse.size(); ++i) p.model.prior.diffuse[i] = draw.one_in(2);
    for (Index i = 0; i < n; ++i) {
      if (p.model.prior.diffuse[static_cast<std::size_t>(i)]) prior_root.row(i).setZero();
    }
    p.model.prior.covariance = prior_root * prior_root.transpose();
  }
  p.model.prior.before_first_transition = draw.one_in(2);
  p.y.leftCols(draw.in(0, 6)).setConstant(std::numeric_limits<double>::quiet_NaN());
  diffuse_families::drop(p, 4, draw);
  return p;
}

/// Up to 8 states, of which the transitions forget some: directions that were independent depend on each other then.
diffuse_families::problem large_forgetting(diffuse_families::source& draw) {
  const Index n = draw.in(2, 8), m = draw.in(1, 3), rank = draw.in(1, n - 1), most = draw.in(1, 3);
  MatrixXd F = draw.integers(n, rank, most) * draw.integers(rank, n, most);
  F *= std::exp2(1 - std::ceil(std::log2(std::max(1.0, F.norm()))));  // exactly, so that the rank stays
  diffuse_families::problem p{{F, draw.covariance(n, draw.in(0, n)) / 4, draw.integers(m, n, most),
                               diffuse_families::identity(m) / 2, diffuse_families::all_diffuse(n)},
                              {}};
  p.model.prior.before_first_transition = draw.one_in(2);
  diffuse_families::simulate(p, 7, draw);
  if (draw.one_in(2)) diffuse_families::drop(p, 3, draw);
  return p;
}

/// Where readings without noise repeat what is known a step may fail, but not in silence; of log-likelihoods a few may.
void check_family(const diffuse_families::family& family) {
  const std::uint64_t first = number_of("KALSCAN_SEED", 1), count = number_of("KALSCAN_MODELS", 40);
  const std::string& name = family.name;
  std::uint64_t improper = 0, noisy = 0, exact = 0, failed = 0, lost = 0;
  for (std::uint64_t i = first; i < first + count; ++i) {
    diffuse_families::source draw(i);
    const auto p = family.make(draw);
    const diffuse_oracle::conditioning expected(p.model, p.y);
    if (expected.contradictory) continue;
    const bool may_fail = by_functions::reads_exactly(p.model);
    ++(may_fail ? exact : noisy);
    bool any_lost = false;
    struct cut {
      std::int64_t chunk, beginning, window = whole;
    };
    for (const cut& c : {cut{1000, whole}, cut{3, whole}, cut{1, whole}, cut{3, 0}, cut{1, 0}, cut{1, whole, 3}}) {
      const std::int64_t chunk = c.chunk, beginning = c.beginning, window = c.window;
      CAPTURE(name);
      CAPTURE(i);
      CAPTURE(chunk);
      CAPTURE(beginning);
      CAPTURE(window);
      const auto x = by_functions::smooth(p.model, p.y, chunk, beginning, window);
      const bool filtered = x.filter_failure == kalscan::step_failure::none;
      const bool smoothed = filtered && x.smoother_failure == kalscan::step_failure::none;
      if (!may_fail) CHECK(smoothed);
      CHECK(x.same_in_place);
      failed += filtered || chunk < 1000 ? 0 : 1;
      const auto e = errors_of(x.smoothed, expected);
      const double worst = std::max(filtered ? e.filtered : 0, smoothed ? e.smoothed : 0);
      CHECK(worst < (worst < bound ? bound : std::max(bound, 32 * condition(expected))));
      const bool right = !filtered || e.log_likelihood < bound;
      if (!may_fail) CHECK(right);
      any_lost = any_lost || !right;
      improper += x.smoothed.filtered.diffuse.empty() ? 0 : 1;
    }
    lost += any_lost ? 1 : 0;  // as `exact` counts: a model once, whose cuts mostly decide alike
  }
  CHECK(improper > 0);
  CHECK(failed <= exact / 8);
  CHECK(lost <= exact / 16);
}

TEST_CASE("a diffuse prior of a model of functions is the limit of large variances, in chunks of any length") {
  for (const auto& family : diffuse_families::all) check_family(family);
  check_family({"up to eight states", large});
  check_family({"up to eight states, through transitions that forget", large_forgetting});
}

TEST_CASE("where the first reading of a direction tells little of it, no digits are lost to those that tell more") {
  for (const std::uint64_t seed : {97'015U, 98'005U, 98'104U, 98'777U}) {
    for (const std::int64_t chunk : {1000, 1}) {
      CAPTURE(seed);
      CAPTURE(chunk);
      diffuse_families::source draw(seed);
      const auto p = large(draw);
      const auto e = errors_of(by_functions::smooth(p.model, p.y, chunk).smoothed,
                               diffuse_oracle::conditioning(p.model, p.y));
      CHECK(e.filtered < 1e-10);
      CHECK(e.log_likelihood < 1e-10);
    }
  }
}

TEST_CASE("summaries of chunks keep the digits of directions that they tell little of") {
  for (const std::uint64_t seed : {98'005U, 98'104U, 98'777U}) {
    CAPTURE(seed);
    diffuse_families::source draw(seed);
    const auto p = large(draw);
    const auto x = by_functions::smooth(p.model, p.y, 1, 0);
    CHECK(errors_of(x.smoothed, diffuse_oracle::conditioning(p.model, p.y)).filtered < 1e-6);
  }
}

const diffuse_families::family& family_of(const std::string& name) {
  return *std::find_if(std::begin(diffuse_families::all), std::end(diffuse_families::all),
                       [&](const auto& family) { return family.name == name; });
}
struct drawn {
  const char* family;
  std::uint64_t seed;
};

TEST_CASE("what later data do not tell is left unknown, and what they tell is taken from those that tell most") {
  for (const drawn& x : {drawn{"priors diffuse in part", 122159}, drawn{"priors diffuse in part", 97418},
                         drawn{"transitions that forget", 131353}, drawn{"transitions that forget", 131448},
                         drawn{"transitions that forget", 99422}, drawn{"transitions that forget", 122820},
                         drawn{"transitions that forget", 1'320'143}}) {
    for (const std::int64_t chunk : {1000, 3, 1}) {
      CAPTURE(x.seed);
      CAPTURE(chunk);
      diffuse_families::source draw(x.seed);
      const auto p = family_of(x.family).make(draw);
      const auto e = errors_of(by_functions::smooth(p.model, p.y, chunk).smoothed,
                               diffuse_oracle::conditioning(p.model, p.y));
      CHECK(e.filtered < 1e-10);
      CHECK(e.smoothed < 1e-10);
    }
  }
}

template <class Steps>
Steps rounded_to_float(const Steps& x) {
  std::vector<MatrixXd> all;
  for (std::int64_t t = 0; t < x.size(); ++t) all.push_back(x[t].template cast<float>().template cast<double>());
  return x.constant() ? Steps(all[0]) : Steps(all);
}

TEST_CASE("in float, information that has lost the digits of a direction is not what smooths it") {
  struct cut {
    std::uint64_t seed;
    std::int64_t chunk;
    double bound = 1e-3;
  };
  for (const cut& c : {cut{1068, 1000}, cut{1068, 3}, cut{1068, 1}, cut{1320, 3}, cut{1297, 1000, 0.02}}) {
    CAPTURE(c.seed);
    CAPTURE(c.chunk);
    diffuse_families::source draw(c.seed);
    auto p = family_of("directions of which the data tell little").make(draw);
    auto& m = p.model;
    m = {rounded_to_float(m.F), rounded_to_float(m.Q), rounded_to_float(m.H), m.R, m.prior};
    p.y = p.y.cast<float>().cast<double>().eval();
    const auto x = by_functions::smooth_in_float(m, p.y, c.chunk);
    CHECK(errors_of(x.smoothed, diffuse_oracle::conditioning(m, p.y)).smoothed < c.bound);
  }
}

TEST_CASE("information that a reading without noise leaves not finite is told where equations are made of it") {
  struct cut {
    drawn x;
    std::int64_t chunk;
  };
  for (const cut& c : {cut{{"noisy and exact readings of one direction", 97532}, 1000},
                       cut{{"noisy and exact readings of one direction", 200685}, 1000},
                       cut{{"priors diffuse in part", 200832}, 1}, cut{{"priors diffuse in part", 97152}, 1}}) {
    CAPTURE(c.x.seed);
    diffuse_families::source draw(c.x.seed);
    const auto p = family_of(c.x.family).make(draw);
    const auto x = by_functions::smooth(p.model, p.y, c.chunk);
    CHECK(x.smoother_failure != kalscan::step_failure::none);
  }
}

TEST_CASE("one reading tells of one direction, however far it is, and leaves the other unknown") {
  const Index length = unless_slow(150, 50), at = length - 30;
  const MatrixXd F{{0.95, -0.3}, {0.3, 0.95}}, H{{1, 0.5}};
  const model_type model{F, 0.1 * MatrixXd::Identity(2, 2), H, MatrixXd::Identity(1, 1),
                         diffuse_families::all_diffuse(2)};
  series_type y = series_type::Constant(1, length, std::numeric_limits<double>::quiet_NaN());
  y(0, at) = 3;
  const diffuse_oracle::conditioning expected(model, y);
  for (const std::int64_t chunk : {1000, 5, 1}) {
    for (const std::int64_t window : {std::int64_t{0}, std::int64_t{7}, whole}) {
      CAPTURE(chunk);
      CAPTURE(window);
      const auto x = by_functions::smooth(model, y, chunk, whole, window);
      CHECK(x.smoother_failure == kalscan::step_failure::none);
      CHECK(x.same_in_place);
      CHECK(errors_of(x.smoothed, expected).smoothed < 1e-9);
    }
  }
}

TEST_CASE("of a state that is known exactly no rounding is left, which would be read as if it told something") {
  for (const std::uint64_t seed : {97'327U, 122'497U, 122'840U, 122'843U, 200'007U, 201'426U}) {
    CAPTURE(seed);
    diffuse_families::source draw(seed);
    const auto p = family_of("noisy and exact readings of one direction").make(draw);
    const auto x = by_functions::smooth(p.model, p.y, 1000);
    CHECK(x.filter_failure == kalscan::step_failure::none);
    CHECK(errors_of(x.smoothed, diffuse_oracle::conditioning(p.model, p.y)).filtered < 1e-9);
  }
}

TEST_CASE("a sensor without noise that is read twice in a step tells nothing the second time") {
  diffuse_families::source draw(892'102);
  const auto p = family_of("noisy and exact readings of one direction").make(draw);
  const diffuse_oracle::conditioning expected(p.model, p.y);
  for (const std::int64_t chunk : {1000, 3, 1}) {
    CAPTURE(chunk);
    const auto x = by_functions::smooth(p.model, p.y, chunk);
    CHECK(x.filter_failure == kalscan::step_failure::none);
    const auto e = errors_of(x.smoothed, expected);
    CHECK(e.filtered < 1e-9);
    CHECK(e.log_likelihood < 1e-9);
  }
}

TEST_CASE("what readings without noise tell keeps its digits, and the rounding of what was read before tells nothing") {
  const char* exact = "noisy and exact readings of one direction";
  const char* partly = "priors diffuse in part";
  for (const drawn& x : {drawn{exact, 1'620'024}, drawn{exact, 41'001'992}, drawn{exact, 42'101'563},
                         drawn{exact, 44'303'131}, drawn{exact, 50'901'347}, drawn{exact, 50'902'532},
                         drawn{exact, 71'000'899}, drawn{partly, 42'100'230}, drawn{partly, 72'000'955},
                         drawn{partly, 73'000'832}, drawn{partly, 83'000'751}}) {
    for (const std::int64_t chunk : {1000, 1}) {
      CAPTURE(x.seed);
      CAPTURE(chunk);
      diffuse_families::source draw(x.seed);
      const auto p = family_of(x.family).make(draw);
      const auto s = by_functions::smooth(p.model, p.y, chunk);
      CHECK(s.filter_failure == kalscan::step_failure::none);
      const auto e = errors_of(s.smoothed, diffuse_oracle::conditioning(p.model, p.y));
      CHECK(e.filtered < 1e-8);
      CHECK(e.log_likelihood < 1e-8);
    }
  }
}

TEST_CASE("later data without noise, of a state without variance, are refused and not left out") {
  diffuse_families::source draw(122'360);
  const auto p = family_of("priors diffuse in part").make(draw);
  const auto x = by_functions::smooth(p.model, p.y, 1000);
  CHECK(x.filter_failure == kalscan::step_failure::none);
  CHECK(x.smoother_failure != kalscan::step_failure::none);
}

TEST_CASE("what a first reading without noise has made known exactly is not read again as if it told something") {
  diffuse_families::source draw(60);  // three states, known after three readings, of eight
  const auto p = diffuse_families::in_part(draw);
  const auto x = by_functions::smooth(p.model, p.y, 1000);
  CHECK(x.filter_failure == kalscan::step_failure::none);
  CHECK(errors_of(x.smoothed, diffuse_oracle::conditioning(p.model, p.y)).log_likelihood < 1e-9);
}

}  // namespace
}  // namespace function_diffuse_tests
