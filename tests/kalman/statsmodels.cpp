// SPDX-License-Identifier: MIT
// The two series of the examples, and a random one with gaps, against numbers that reference/make_reference.py made: by
// statsmodels, and for the diffuse CO2 model by 220-digit arithmetic.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "../../examples/series.hpp"
#include "../instrument.hpp"
#include "oracle.hpp"

namespace statsmodels_tests {
namespace {

using Eigen::Dynamic;
using model_type = kalscan::kalman_model<double, Dynamic, Dynamic>;
using prior_type = kalscan::gaussian_prior<double, Dynamic>;

model_type nile() { return oracle::convert<double, Dynamic, Dynamic>(nile_model()); }
model_type co2() { return oracle::convert<double, Dynamic, Dynamic>(co2_model()); }

struct reference {
  double log_likelihood = 0;
  std::vector<std::vector<double>> rows;
};

std::ifstream open(const std::string& name) {
  std::ifstream file(std::string(KALSCAN_SOURCE_DIR "/tests/kalman/reference/") + name);
  REQUIRE(file);
  return file;
}

reference read_reference(const std::string& name) {
  std::ifstream file = open(name);
  reference r;
  std::string line, field;
  while (std::getline(file, line)) {
    const std::string key = "# log_likelihood,";
    if (line.rfind(key, 0) == 0) r.log_likelihood = std::stod(line.substr(key.size()));
    if (line.empty() || line[0] < '0' || line[0] > '9') continue;
    std::istringstream fields(line);
    r.rows.emplace_back();
    while (std::getline(fields, field, ',')) r.rows.back().push_back(std::strtod(field.c_str(), nullptr));
  }
  REQUIRE(r.rows.size() > 50);
  return r;
}

series data(const std::string& name) { return read_series(std::string(KALSCAN_SOURCE_DIR "/examples/data/") + name); }

double variance(const std::vector<Eigen::MatrixXd>& covariance, const std::vector<Eigen::MatrixXd>& diffuse,
                std::size_t t) {
  if (t < diffuse.size() && diffuse[t](0, 0) > 1e-20) return std::numeric_limits<double>::infinity();
  return covariance[t](0, 0);
}

/// |ours - theirs| relative to theirs; infinities must agree.
double defect(double ours, double theirs) {
  if (ours == theirs) return 0;
  const double d = std::abs(ours - theirs) / (std::abs(theirs) + 1e-30);
  return std::isfinite(d) ? d : std::numeric_limits<double>::infinity();
}

template <class Policy>
void check_nile(const Policy& p, const std::string& name, const prior_type& prior) {
  const reference expected = read_reference(name);
  auto model = nile();
  model.prior = prior;
  const auto s = kalscan::smooth(p, model, data("nile.csv").value, {.predictions = true});
  const auto& f = s.filtered;
  double worst = 0;
  for (const auto& row : expected.rows) {
    const auto t = static_cast<Eigen::Index>(row[0]);
    const auto i = static_cast<std::size_t>(t);
    const std::array<double, 7> ours{f.mean(0, t),
                                     variance(f.covariance, f.diffuse, i),
                                     f.predicted_mean(0, t),
                                     variance(f.predicted_covariance, f.predicted_diffuse, i),
                                     s.mean(0, t),
                                     s.covariance[i](0, 0),
                                     f.log_likelihood_terms[i]};
    for (std::size_t k = 0; k < ours.size(); ++k) worst = std::max(worst, defect(ours[k], row[k + 1]));
  }
  CHECK(worst < 1e-11);
  CHECK(defect(f.log_likelihood, expected.log_likelihood) < 1e-13);
  CHECK(f.predicted_covariance.back()(0, 0) == doctest::Approx(5501).epsilon(1e-4));
  CHECK(f.covariance.back()(0, 0) == doctest::Approx(4032).epsilon(1e-4));
}

/// `early` is the bound for the filtered level of the first weeks, where the data hardly tell level from season: an
/// error there is eps times the square root of the level's variance over the observation's.
template <class Policy>
void check_co2(const Policy& p, const std::string& name, const prior_type& prior, double early, double bound) {
  const reference expected = read_reference(name);
  auto model = co2();
  model.prior = prior;
  const auto s = kalscan::smooth(p, model, data("co2.csv").value);
  double worst_early = 0, worst = 0;
  for (const auto& row : expected.rows) {
    const auto t = static_cast<Eigen::Index>(row[0]);
    const auto i = static_cast<std::size_t>(t);
    const auto& H = model.H[t];
    const std::array<double, 7> ours{s.filtered.mean(0, t),
                                     variance(s.filtered.covariance, s.filtered.diffuse, i),
                                     s.mean(0, t),
                                     s.covariance[i](0, 0),
                                     (H * s.mean.col(t))(0),
                                     (H * s.covariance[i] * H.transpose())(0, 0),
                                     s.filtered.log_likelihood_terms[i]};
    for (std::size_t k = 0; k < ours.size(); ++k) {
      const bool is_early = i < 40 && (k < 2 || k == 6);
      (is_early ? worst_early : worst) = std::max(is_early ? worst_early : worst, defect(ours[k], row[k + 1]));
    }
  }
  CHECK(worst_early < early);
  CHECK(worst < bound);
  CHECK(defect(s.filtered.log_likelihood, expected.log_likelihood) < 1e-9);
}

/// Lines of `name rows columns values`, row by row.
std::map<std::string, Eigen::MatrixXd> read_matrices(const std::string& name) {
  std::ifstream file = open(name);
  std::map<std::string, Eigen::MatrixXd> result;
  std::string line, key, value;
  while (std::getline(file, line)) {
    std::istringstream fields(line);
    Eigen::Index rows = 0, columns = 0;
    fields >> key >> rows >> columns;
    Eigen::MatrixXd x(rows, columns);
    for (Eigen::Index i = 0; i < rows; ++i) {
      for (Eigen::Index j = 0; j < columns; ++j) {
        fields >> value;
        x(i, j) = std::strtod(value.c_str(), nullptr);
      }
    }
    result[key] = x;
  }
  return result;
}

TEST_CASE("the Nile's level and log-likelihood are those of statsmodels, and reach the known steady state") {
  const auto proper = nile().prior;
  const auto diffuse = prior_type::all_diffuse(1);
  for (const auto& prior : {proper, diffuse}) {
    const std::string name = prior.has_diffuse() ? "nile_diffuse.csv" : "nile_proper.csv";
    check_nile(kalscan::seq{}, name, prior);
    check_nile(kalscan::omp{2, 9}, name, prior);
  }
}

TEST_CASE("the smoothed CO2 series, with its missing weeks, is that of statsmodels") {
  const auto proper = co2().prior;
  if (!under_an_instrument()) {
    check_co2(kalscan::seq{}, "co2_proper.csv", proper, 1e-9, 1e-9);
    check_co2(kalscan::omp{2}, "co2_proper.csv", proper, 1e-9, 1e-9);
  }
  check_co2(kalscan::omp{3, 100}, "co2_proper.csv", proper, 1e-9, 1e-9);
}

TEST_CASE("the smoothed CO2 series under an exactly diffuse prior is that of 220-digit arithmetic") {
  const auto diffuse = prior_type::all_diffuse(6);
  if (!under_an_instrument()) {
    check_co2(kalscan::seq{}, "co2_diffuse.csv", diffuse, 1e-6, 1e-8);
    check_co2(kalscan::omp{2}, "co2_diffuse.csv", diffuse, 1e-6, 1e-8);
  }
  check_co2(kalscan::omp{3, 100}, "co2_diffuse.csv", diffuse, 1e-6, 1e-8);
}

TEST_CASE("a random model with whole and single components missing agrees with statsmodels, by NaN or by mask") {
  auto x = read_matrices("random_missing.txt");
  const model_type model{x["F"], x["Q"], x["H"], x["R"], prior_type::of_first_state(x["m0"], x["P0"])};
  const kalscan::observations<double, Dynamic> y = x["y"];
  const auto present = (y.array() == y.array()).eval();
  const kalscan::observations<double, Dynamic> poisoned = present.select(y.array(), 1e300);
  for (const auto& data : {y, kalscan::masked<double, Dynamic>(poisoned, present)}) {
    for (const int threads : {1, 3}) {
      const auto s = kalscan::smooth(kalscan::omp{threads, 7}, model, data);
      double worst = 0;
      for (Eigen::Index t = 0; t < y.cols(); ++t) {
        const auto i = static_cast<std::size_t>(t);
        for (Eigen::Index k = 0; k < 3; ++k) {
          worst = std::max({worst, defect(s.filtered.mean(k, t), x["filtered_mean"](k, t)),
                            defect(s.mean(k, t), x["smoothed_mean"](k, t))});
        }
        for (Eigen::Index k = 0; k < 9; ++k) {
          worst = std::max({worst, defect(s.filtered.covariance[i](k / 3, k % 3), x["filtered_cov"](t, k)),
                            defect(s.covariance[i](k / 3, k % 3), x["smoothed_cov"](t, k))});
        }
        worst = std::max(worst, defect(s.filtered.log_likelihood_terms[i], x["llf"](0, t)));
      }
      CHECK(worst < 1e-9);
    }
  }
  CHECK_THROWS_WITH((static_cast<void>(kalscan::masked<double, Dynamic>(y, present.leftCols(3)))),
                    "kalscan: the mask is 2 x 3, y is 2 x 30");
}

}  // namespace
}  // namespace statsmodels_tests
