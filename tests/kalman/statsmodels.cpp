// SPDX-License-Identifier: MIT
// The two series of the examples against statsmodels; reference/make_reference.py made the numbers.
#include <doctest/doctest.h>

#include <array>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "../../examples/series.hpp"

namespace {

struct reference {
  double log_likelihood = 0;
  std::vector<std::vector<double>> rows;
};

reference read_reference(const std::string& name) {
  std::ifstream file(std::string(KALSCAN_SOURCE_DIR) + "/tests/kalman/reference/" + name);
  REQUIRE(file);
  reference r;
  std::string line, field;
  while (std::getline(file, line)) {
    const std::string key = "# log_likelihood,";
    if (line.rfind(key, 0) == 0) r.log_likelihood = std::stod(line.substr(key.size()));
    if (line.empty() || line[0] < '0' || line[0] > '9') continue;
    std::istringstream fields(line);
    r.rows.emplace_back();
    while (std::getline(fields, field, ',')) r.rows.back().push_back(std::stod(field));
  }
  REQUIRE(r.rows.size() > 50);
  return r;
}

series data(const std::string& name) { return read_series(std::string(KALSCAN_SOURCE_DIR) + "/examples/data/" + name); }

template <class Policy>
void check_nile(const Policy& p) {
  const reference expected = read_reference("nile.csv");
  const auto s = kalscan::smooth(p, nile_model(), data("nile.csv").value, {.predictions = true});
  for (const auto& row : expected.rows) {
    const auto t = static_cast<Eigen::Index>(row[0]);
    const auto i = static_cast<std::size_t>(t);
    const std::array<double, 5> ours{s.filtered.mean(0, t), s.filtered.covariance[i](0, 0), s.mean(0, t),
                                     s.covariance[i](0, 0), s.filtered.log_likelihood_terms[i]};
    for (std::size_t k = 0; k < ours.size(); ++k) CHECK(ours[k] == doctest::Approx(row[k + 1]).epsilon(1e-10));
  }
  CHECK(s.filtered.log_likelihood == doctest::Approx(expected.log_likelihood).epsilon(1e-11));
  CHECK(s.filtered.predicted_covariance.back()(0, 0) == doctest::Approx(5501).epsilon(1e-4));
  CHECK(s.filtered.covariance.back()(0, 0) == doctest::Approx(4032).epsilon(1e-4));
}

template <class Policy>
void check_co2(const Policy& p) {
  const reference expected = read_reference("co2.csv");
  const auto model = co2_model();
  const auto s = kalscan::smooth(p, model, data("co2.csv").value);
  for (const auto& row : expected.rows) {
    const auto t = static_cast<Eigen::Index>(row[0]);
    const auto i = static_cast<std::size_t>(t);
    const auto& H = model.H[t];
    const std::array<double, 7> ours{s.filtered.mean(0, t), s.filtered.covariance[i](0, 0), s.mean(0, t),
                                     s.covariance[i](0, 0), (H * s.mean.col(t))(0),
                                     (H * s.covariance[i] * H.transpose())(0, 0), s.filtered.log_likelihood_terms[i]};
    for (std::size_t k = 0; k < ours.size(); ++k) CHECK(ours[k] == doctest::Approx(row[k + 1]).epsilon(1e-7));
  }
  CHECK(s.filtered.log_likelihood == doctest::Approx(expected.log_likelihood).epsilon(1e-9));
}

TEST_CASE("the Nile's level and log-likelihood are those of statsmodels, and reach the known steady state") {
  check_nile(kalscan::seq{});
  check_nile(kalscan::omp{2, 9});
}

TEST_CASE("the smoothed CO2 series, with its missing weeks, is that of statsmodels") {
  check_co2(kalscan::seq{});
  check_co2(kalscan::omp{2});
  check_co2(kalscan::omp{3, 100});
}

}  // namespace
