// SPDX-License-Identifier: MIT
// The Nile's flow and the CO2 of Mauna Loa, from examples/data, with their models as models of functions whose priors
// are diffuse. No Eigen: for tests of a device, too.
#pragma once

#include <cmath>
#include <fstream>
#include <kalscan/kalman/functions/model.hpp>
#include <kalscan/kalman/small/diffuse.hpp>
#include <limits>
#include <numbers>
#include <stdexcept>
#include <string>
#include <vector>

namespace real_series {

/// The second column of a file with a header; what is empty is missing.
inline std::vector<double> read(const std::string& name) {
  std::ifstream file(KALSCAN_SOURCE_DIR "/examples/data/" + name);
  if (!file) file.open("examples/data/" + name);
  if (!file) throw std::runtime_error("cannot read " + name);
  std::vector<double> values;
  std::string line;
  std::getline(file, line);
  while (std::getline(file, line)) {
    const std::string field = line.substr(line.find(',') + 1);
    values.push_back(field.empty() ? std::numeric_limits<double>::quiet_NaN() : std::stod(field));
  }
  return values;
}

/// A local level, with the variances of Durbin and Koopman.
template <class T>
auto nile_model() {
  using one = kalscan::small_matrix<T, 1, 1>;
  using variance = kalscan::small_symmetric<T, 1>;
  return kalscan::model_of<T, 1, 1>(one{{1}}, variance{{T(1469.1)}}, one{{1}}, variance{{15099}},
                                    kalscan::all_diffuse<T, 1>());
}

/// A local linear trend and two yearly harmonics, by the week.
template <class T>
auto co2_model() {
  kalscan::small_matrix<T, 6, 6> F{};
  F(0, 0) = F(0, 1) = F(1, 1) = 1;
  for (int j = 1; j <= 2; ++j) {
    const double w = 2 * std::numbers::pi * j / (365.25 / 7);
    F(2 * j, 2 * j) = F(2 * j + 1, 2 * j + 1) = static_cast<T>(std::cos(w));
    F(2 * j, 2 * j + 1) = static_cast<T>(std::sin(w));
    F(2 * j + 1, 2 * j) = static_cast<T>(-std::sin(w));
  }
  kalscan::small_symmetric<T, 6> Q{};
  const double variances[] = {0.02, 1e-6, 1e-5, 1e-5, 1e-6, 1e-6};
  for (int i = 0; i < 6; ++i) Q(i, i) = static_cast<T>(variances[i]);
  return kalscan::model_of<T, 6, 1>(F, Q, kalscan::small_matrix<T, 1, 6>{{1, 0, 1, 0, 1, 0}},
                                    kalscan::small_symmetric<T, 1>{{T(0.06)}}, kalscan::all_diffuse<T, 6>());
}

}  // namespace real_series
