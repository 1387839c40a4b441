// SPDX-License-Identifier: MIT
// What other packages and papers printed, to the last printed digit: reference/published, made by make_published.py,
// where the format is described. Each file names its source.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <numeric>
#include <sstream>
#include <string>
#include <vector>

#include "../instrument.hpp"
#include "by_functions.hpp"
#include "shared.hpp"

namespace published_tests {
namespace {

using Eigen::Dynamic, Eigen::Index, Eigen::MatrixXd;
using model_type = kalscan::kalman_model<double, Dynamic, Dynamic>;
using result_type = kalscan::smoother_result<double, Dynamic, Dynamic>;

struct expectation {
  std::string name;
  Index index, first;
  double within;  // 0: half a unit of the last digit
  std::vector<std::string> values;
};

struct published_case {
  std::string file;
  std::map<std::string, MatrixXd> given;
  std::vector<expectation> expected;
};

published_case read_case(const std::filesystem::path& path) {
  published_case c{path.filename().string(), {}, {}};
  std::ifstream file(path);
  std::string line, key, value;
  while (std::getline(file, line)) {
    std::istringstream fields(line);
    if (!(fields >> key) || key[0] == '#') continue;
    if (key == "expect") {
      expectation e{};
      fields >> e.name >> e.index >> e.first;
      while (fields >> value) {
        if (value == "within") {
          fields >> e.within;
        } else {
          e.values.push_back(value);
        }
      }
      c.expected.push_back(e);
      continue;
    }
    Index rows = 0, columns = 0;
    fields >> rows >> columns;
    MatrixXd x(rows, columns);
    for (Index i = 0; i < rows; ++i) {
      for (Index j = 0; j < columns; ++j) {
        fields >> value;
        x(i, j) = std::strtod(value.c_str(), nullptr);
      }
    }
    c.given[key] = x;
  }
  return c;
}

std::vector<published_case> all_cases() {
  std::vector<published_case> cases;
  const std::string folder = KALSCAN_SOURCE_DIR "/tests/kalman/reference/published";
  for (const auto& entry : std::filesystem::directory_iterator(folder)) cases.push_back(read_case(entry.path()));
  return cases;
}

model_type model_of(published_case& c) {
  model_type model{c.given.at("F"), c.given.at("Q"), {}, c.given.at("R"), {}};
  const MatrixXd& H = c.given.at("H");
  const Index m = c.given.at("y").rows();
  if (H.rows() == m) {
    model.H = H;
  } else {
    std::vector<MatrixXd> each;
    for (Index t = 0; t < H.rows(); t += m) each.push_back(H.middleRows(t, m));
    model.H = each;
  }
  model.prior.mean = c.given.at("prior_mean");
  model.prior.covariance = c.given.at("prior_covariance");
  model.prior.before_first_transition = c.given.contains("prior_before_first_transition");
  if (c.given.contains("prior_diffuse")) {
    for (const double x : c.given.at("prior_diffuse").reshaped()) model.prior.diffuse.push_back(x != 0);
  }
  return model;
}

double computed(const std::string& name, const result_type& s, const model_type& model, Index index, Index t) {
  const auto step = static_cast<std::size_t>(t);
  const Index n = model.states();
  const auto entry = [&](const std::vector<MatrixXd>& x) { return x[step](index / n, index % n); };
  const auto& f = s.filtered;
  if (name == "predicted_mean") return f.predicted_mean(index, t);
  if (name == "predicted_covariance") return entry(f.predicted_covariance);
  if (name == "predicted_y") return model.H[t].row(index) * f.predicted_mean.col(t);
  if (name == "filtered_mean") return f.mean(index, t);
  if (name == "filtered_covariance") return entry(f.covariance);
  if (name == "smoothed_mean") return s.mean(index, t);
  if (name == "smoothed_covariance") return entry(s.covariance);
  REQUIRE(name == "log_likelihood");
  if (f.log_likelihood_terms.empty()) return f.log_likelihood;
  return std::accumulate(f.log_likelihood_terms.begin() + t, f.log_likelihood_terms.end(), 0.0);
}

/// Half a unit of the last digit, and what the next arithmetic may round.
double half_unit(const std::string& text) {
  const auto point = text.find('.');
  const double digits = point == std::string::npos ? 0 : static_cast<double>(text.size() - point - 1);
  return 0.5 * std::pow(10, -digits) + 4e-15 * std::abs(std::stod(text));
}

void check(const published_case& c, const std::string& form, const model_type& model, const result_type& s) {
  for (const expectation& e : c.expected) {
    for (std::size_t k = 0; k < e.values.size(); ++k) {
      const double value = std::strtod(e.values[k].c_str(), nullptr);
      if (std::isnan(value)) continue;
      const Index t = e.first + static_cast<Index>(k);
      const double ours = computed(e.name, s, model, e.index, t);
      INFO(c.file << ", " << form << ": " << e.name << " " << e.index << " of step " << t << " is " << e.values[k]
                  << ", not " << ours);
      CHECK(std::abs(ours - value) <= (e.within > 0 ? e.within : half_unit(e.values[k])));
    }
  }
}

/// As models of functions, in chunks of any length.
void check_by_functions(const published_case& c, const model_type& model, const MatrixXd& y) {
  if (model.states() > by_functions::most_states) return;
  auto part = c;
  std::erase_if(part.expected, [](const expectation& e) { return e.name == "log_likelihood" && e.first > 0; });
  for (const std::int64_t chunk : {std::int64_t{1000}, std::int64_t{7}}) {
    if (chunk == 1000 && under_an_instrument()) continue;  // other tests take whole series at once
    const auto x = by_functions::smooth(model, y, chunk);
    CHECK(x.filter_failure == kalscan::step_failure::none);
    CHECK(x.smoother_failure == kalscan::step_failure::none);
    check(part, "functions in chunks of " + std::to_string(chunk), model, x.smoothed);
  }
}

constexpr kalscan::filter_outputs with_predictions{.predictions = true};

TEST_CASE("the numbers that other packages and papers print") {
  auto cases = all_cases();
  REQUIRE(cases.size() > 20);
  for (published_case& c : cases) {
    const model_type model = model_of(c);
    const MatrixXd& y = c.given.at("y");
    if (under_an_instrument() && y.cols() > 123) continue;  // the shorter ones have models of all kinds
    const auto check_form = [&](const std::string& form, const auto& given) {
      if (!under_an_instrument())
        check(c, form + ", seq", model, kalscan::smooth(kalscan::seq{}, given, y, with_predictions));
      check(c, form + ", omp", model, kalscan::smooth(kalscan::omp{2, 7}, given, y, with_predictions));
    };
    check_form("covariances", model);
    check_form("square roots", kalscan::square_root{model});
    check_by_functions(c, model, y);
  }
}

}  // namespace
}  // namespace published_tests
