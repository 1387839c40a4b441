// SPDX-License-Identifier: MIT
// The two series of the examples and the models that go with them.
#pragma once

#include <cmath>
#include <fstream>
#include <kalscan/kalscan.hpp>
#include <limits>
#include <numbers>
#include <stdexcept>
#include <string>
#include <vector>

/// A CSV file with a header and two columns. An empty value is missing: NaN.
struct series {
  std::vector<std::string> time;
  kalscan::observations<double, 1> value;
};

inline series read_series(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error("cannot read " + path);
  series s;
  std::vector<double> values;
  std::string line;
  std::getline(file, line);
  while (std::getline(file, line)) {
    const auto comma = line.find(',');
    if (comma == std::string::npos) throw std::runtime_error(path + ": no comma in: " + line);
    s.time.push_back(line.substr(0, comma));
    const std::string field = line.substr(comma + 1);
    values.push_back(field.empty() ? std::numeric_limits<double>::quiet_NaN() : std::stod(field));
  }
  s.value = Eigen::Map<Eigen::RowVectorXd>(values.data(), static_cast<Eigen::Index>(values.size()));
  return s;
}

/// The local level model of the Nile's flow, with the variances of Durbin & Koopman.
inline kalscan::kalman_model<double, 1, 1> nile_model() {
  const Eigen::Matrix<double, 1, 1> one = Eigen::Matrix<double, 1, 1>::Ones();
  return {one, one * 1469.1, one, one * 15099.0,
          kalscan::gaussian_prior<double, 1>::of_first_state(one * 1000.0, one * 1e5)};
}

/// Weekly CO2: a local linear trend and two yearly harmonics; level, slope, and two pairs that rotate.
inline kalscan::kalman_model<double, 6, 1> co2_model() {
  using matrix = Eigen::Matrix<double, 6, 6>;
  matrix F = matrix::Zero();
  F.topLeftCorner<2, 2>() << 1, 1, 0, 1;
  for (int j = 1; j <= 2; ++j) {
    const double w = 2 * std::numbers::pi * j / (365.25 / 7);
    F.block<2, 2>(2 * j, 2 * j) << std::cos(w), std::sin(w), -std::sin(w), std::cos(w);
  }
  const matrix Q = Eigen::Vector<double, 6>{0.02, 1e-6, 1e-5, 1e-5, 1e-6, 1e-6}.asDiagonal();
  const matrix P = Eigen::Vector<double, 6>{100, 0.01, 10, 10, 10, 10}.asDiagonal();
  return {F, Q, Eigen::Matrix<double, 1, 6>{1, 0, 1, 0, 1, 0}, Eigen::Matrix<double, 1, 1>{0.06},
          kalscan::gaussian_prior<double, 6>::of_first_state(Eigen::Vector<double, 6>{315, 0, 0, 0, 0, 0}, P)};
}
