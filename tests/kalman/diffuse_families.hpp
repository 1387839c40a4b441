// SPDX-License-Identifier: MIT
// Random models whose diffuse prior the data resolve late, in part, never, or without noise; small integers mostly, so that
// ranks are exact and data that are read without noise agree with each other.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "diffuse_oracle.hpp"

namespace diffuse_families {

using diffuse_oracle::model_type;
using diffuse_oracle::series_type;
using matrix = Eigen::MatrixXd;
using Eigen::Index;

struct problem {
  model_type model;
  series_type y;
};

class source {
 public:
  explicit source(std::uint64_t seed) : engine_(seed) {}
  Index in(Index least, Index most) { return least + static_cast<Index>(engine_() % static_cast<std::uint64_t>(most - least + 1)); }
  double number(Index least, Index most) { return static_cast<double>(in(least, most)); }
  bool one_in(Index k) { return in(1, k) == 1; }
  double normal() { return std::normal_distribution<double>()(engine_); }
  matrix integers(Index rows, Index cols, Index most) {
    matrix x(rows, cols);
    for (double& entry : x.reshaped()) entry = number(-most, most);
    return x;
  }
  matrix normals(Index rows, Index cols) {
    matrix x(rows, cols);
    for (double& entry : x.reshaped()) entry = normal();
    return x;
  }
  matrix covariance(Index n, Index rank) {
    const matrix root = integers(n, rank, 2);
    return root * root.transpose();
  }

 private:
  std::mt19937_64 engine_;
};

inline auto all_diffuse(Index n) { return kalscan::gaussian_prior<double, Eigen::Dynamic>::all_diffuse(n); }
inline matrix identity(Index n) { return matrix::Identity(n, n); }
inline matrix zero(Index n) { return matrix::Zero(n, n); }

/// Data that the model can have produced.
inline void simulate(problem& p, Index length, source& draw) {
  const auto error = [&](const matrix& covariance) { return matrix(covariance * draw.integers(covariance.rows(), 1, 1)); };
  const auto& m = p.model;
  matrix x = m.prior.mean + error(m.prior.covariance);
  for (std::size_t i = 0; i < m.prior.diffuse.size(); ++i) {
    if (m.prior.diffuse[i]) x(static_cast<Index>(i)) = draw.number(-5, 5);
  }
  p.y.resize(m.observed(), length);
  for (Index t = 0; t < length; ++t) {
    if (t > 0 || m.prior.before_first_transition) {
      x = (m.F[t] * x + error(m.Q[t])).eval();
      if (!m.B.empty()) x += m.B[t] * m.u.col(t);
    }
    p.y.col(t) = m.H[t] * x + error(m.R[t]);
    if (!m.D.empty()) p.y.col(t) += m.D[t] * m.u.col(t);
  }
}

inline void drop(problem& p, Index one_in, source& draw) {
  for (double& y : p.y.reshaped()) {
    if (draw.one_in(one_in)) y = std::numeric_limits<double>::quiet_NaN();
  }
}

inline problem forgetting(source& draw) {
  const Index n = draw.in(2, 4), m = draw.in(1, 2), rank = draw.in(1, n - 1);
  problem p{{draw.integers(n, rank, 1) * draw.integers(rank, n, 1), draw.covariance(n, draw.in(0, n)) / 4,
             draw.integers(m, n, 1), identity(m) / 2, all_diffuse(n)},
            {}};
  p.model.prior.before_first_transition = draw.one_in(2);
  simulate(p, 7, draw);
  return p;
}

/// One direction is read with and without noise, and sums of it with others, in any order; also in one step.
inline problem noisy_and_exact(source& draw) {
  const Index n = draw.in(2, 4), m = draw.in(1, 3), length = n + 3;
  const matrix directions = draw.integers(3, n, 2);
  std::vector<matrix> H, R;
  for (Index t = 0; t < length; ++t) {
    matrix h(m, n), r = identity(m);
    for (Index i = 0; i < m; ++i) {
      h.row(i) = directions.row(draw.in(0, 2)) * draw.number(1, 3);
      if (draw.one_in(4)) h.row(i) = directions.row(0) + directions.row(1);
      if (draw.one_in(3)) h.row(i) = draw.integers(1, n, 1);
      r(i, i) = draw.one_in(2) ? 0 : draw.number(1, 2);
    }
    H.push_back(h);
    R.push_back(r);
  }
  const bool at_rest = draw.one_in(2);
  problem p{{at_rest ? identity(n) : draw.integers(n, n, 1), at_rest ? zero(n) : matrix(draw.covariance(n, 1) / 2), H, R,
             all_diffuse(n)},
            {}};
  simulate(p, length, draw);
  return p;
}

inline problem never_seen(source& draw) {
  const Index n = draw.in(2, 4), m = draw.in(1, 2);
  matrix Q = zero(n);
  for (double& q : Q.diagonal()) q = draw.number(0, 3) / 10;
  return {{identity(n) * 0.95, Q, draw.integers(m, n, 1), identity(m), all_diffuse(n)}, draw.normals(m, 8)};
}

/// Regressors that repeat each other, and dummies of all seasons beside a level.
inline problem collinear(source& draw) {
  const Index n = draw.in(3, 5), length = 2 * n + 1;
  const bool dummies = draw.one_in(2);
  const double factor = draw.one_in(2) ? 3 : draw.normal();
  std::vector<matrix> H;
  for (Index t = 0; t < length; ++t) {
    matrix h = dummies ? zero(n).topRows(1).eval() : draw.normals(1, n);
    h(0) = 1;
    if (dummies) h(1 + t % (n - 1)) = 1;
    if (!dummies) h(2) = factor * h(1);
    H.push_back(h);
  }
  matrix Q = zero(n);
  Q(0, 0) = draw.number(0, 2) / 5;
  problem p{{identity(n), Q, H, identity(1), all_diffuse(n)}, 3 * draw.normals(1, length)};
  drop(p, 10, draw);
  return p;
}

/// Structural models with one level too many.
inline problem redundant(source& draw) {
  const Index seasons = draw.in(2, 4), n = seasons + 1;
  matrix F = zero(n), H = zero(n).topRows(1), Q = zero(n);
  F(0, 0) = H(0) = H(1) = 1;
  for (Index i = 0; i < seasons; ++i) F(1 + (i + 1) % seasons, 1 + i) = 1;
  if (seasons == 2 && draw.one_in(2)) {  // trend and level in place of seasons
    F = matrix{{1, 1, 0}, {0, 1, 0}, {0, 0, 1}};
    H = matrix{{1, 0, 1}};
  }
  for (double& q : Q.diagonal()) q = draw.number(0, 2) / 5;
  problem p{{F, Q, H, identity(1), all_diffuse(n)}, 3 * draw.normals(1, 3 * n)};
  drop(p, 10, draw);
  return p;
}

inline problem walks(source& draw) {
  const Index n = draw.in(2, 4);
  problem p{{identity(n), draw.covariance(n, n) + identity(n) / 4, identity(n), draw.covariance(n, n) + identity(n),
             all_diffuse(n)},
            draw.normals(n, 7)};
  p.y.row(draw.in(0, n - 1)).setConstant(std::numeric_limits<double>::quiet_NaN());
  drop(p, 4, draw);
  return p;
}

/// Diffuse in part, with gaps and inputs; noise of any rank but with each component noisy.
inline problem in_part(source& draw) {
  const Index n = draw.in(2, 4), m = draw.in(1, 2), length = 8;
  problem p{{draw.integers(n, n, 1) / 2, draw.covariance(n, draw.in(0, n)) / 2, draw.integers(m, n, 1),
             draw.one_in(2) ? identity(m) : zero(m), all_diffuse(n)},
            {}};
  auto& prior = p.model.prior;
  prior.covariance = draw.covariance(n, draw.in(1, n));
  for (std::size_t i = 0; i < prior.diffuse.size(); ++i) {
    const auto k = static_cast<Index>(i);
    prior.diffuse[i] = i == 0 || draw.one_in(2);
    prior.mean(k) = draw.number(-3, 3);
    if (!prior.diffuse[i]) continue;
    prior.covariance.row(k).setZero();
    prior.covariance.col(k).setZero();
  }
  prior.before_first_transition = draw.one_in(2);
  if (draw.one_in(2)) {
    p.model.u = draw.integers(2, length, 2);
    p.model.B = draw.integers(n, 2, 1);
    p.model.D = draw.integers(m, 2, 1);
  }
  simulate(p, length, draw);
  drop(p, 5, draw);
  return p;
}

/// Polynomials of time, rotations and dense transitions: the data tell little of some directions for long.
inline problem ill_conditioned(source& draw) {
  const Index n = draw.in(2, 4), length = 12;
  const matrix F = draw.normals(n, n) / std::sqrt(static_cast<double>(n));
  problem p{{F, draw.covariance(n, draw.in(0, n)) / 4, draw.normals(1, n), identity(1), all_diffuse(n)},
            draw.normals(1, length)};
  if (draw.one_in(3)) return p;
  if (draw.one_in(2)) {
    p.model.F = identity(n);
    p.model.Q = zero(n);
    std::vector<matrix> H(static_cast<std::size_t>(length), zero(n).topRows(1));
    for (std::size_t t = 0; t < H.size(); ++t) {
      for (Index j = 0; j < n; ++j) H[t](j) = std::pow(static_cast<double>(t) + draw.number(0, 2) / 2, j);
    }
    p.model.H = H;
    return p;
  }
  matrix rotations = zero(4);
  for (const Index i : {0, 2}) {
    const double angle = draw.normal();
    rotations(i, i) = rotations(i + 1, i + 1) = std::cos(angle);
    rotations(i, i + 1) = std::sin(angle);
    rotations(i + 1, i) = -std::sin(angle);
  }
  p.model = {rotations, zero(4), matrix{{1, 0, draw.number(0, 1), 0}}, identity(1), all_diffuse(4)};
  return p;
}

/// Shocks that are fewer than states, read without noise now and then through an unstable inverse, beside states that are
/// seen late or never: given the unknowns, all grows.
inline problem seen_late(source& draw) {
  const Index n = draw.in(2, 4), late = draw.in(0, 2), all = n + late, length = 30;
  matrix F = identity(all), Q = zero(all);
  matrix turn = draw.normals(n, n) / std::sqrt(static_cast<double>(n)), power = turn;
  for (int k = 0; k < 5; ++k) power = (power * power).eval();
  F.topLeftCorner(n, n) = turn / std::max(1.0, std::pow(power.norm(), 1.0 / 32));  // does not explode
  const matrix shocks = draw.normals(n, draw.in(1, n - 1));
  Q.topLeftCorner(n, n) = shocks * shocks.transpose();
  const matrix exact = draw.normals(1, n);
  const Index from = draw.one_in(4) ? length : draw.in(10, 28);
  std::vector<matrix> H, R;
  series_type y(1, length);
  matrix x = draw.normals(all, 1);
  for (Index t = 0; t < length; ++t) {
    const bool reads_exactly = !draw.one_in(4);
    H.push_back(zero(all).topRows(1));
    H.back().leftCols(n) = reads_exactly ? exact : draw.normals(1, n);
    if (t >= from) H.back().rightCols(late) = draw.normals(1, late);
    R.push_back(identity(1) * (reads_exactly ? 0 : 0.01));
    y(0, t) = (H.back() * x)(0) + (reads_exactly ? 0 : 0.1 * draw.normal());
    x = F * x;
    x.topRows(n) += shocks * draw.normals(shocks.cols(), 1);
  }
  problem p{{F, Q, H, R, all_diffuse(all)}, y};
  if (draw.one_in(2)) {
    p.model.prior.covariance.topLeftCorner(n, n) = draw.number(1, 1000) * identity(n);
    std::fill_n(p.model.prior.diffuse.begin(), n, false);
  }
  return p;
}

struct family {
  std::string name;
  std::function<problem(source&)> make;
};

inline const std::vector<family> all = {
    {"transitions that forget", forgetting},  {"noisy and exact readings of one direction", noisy_and_exact},
    {"directions never seen", never_seen},    {"collinear regressors", collinear},
    {"redundant components", redundant},      {"walks of which one is not observed", walks},
    {"priors diffuse in part", in_part},      {"directions of which the data tell little", ill_conditioned}};

}  // namespace diffuse_families
