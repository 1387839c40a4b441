// SPDX-License-Identifier: MIT
// Random models that people have and that joint formulas lose: vague priors with several sensors, exact constraints,
// components that fade, singular transitions.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "oracle.hpp"

namespace model_families {

using Eigen::MatrixXd, Eigen::VectorXd, Eigen::Index;
using prior_type = kalscan::gaussian_prior<double, Eigen::Dynamic>;
using problem_type = oracle::problem<double, Eigen::Dynamic, Eigen::Dynamic>;

/// So many models are drawn: fewer where KALSCAN_MODELS, which slow instruments set, says so.
inline std::uint64_t at_most(std::uint64_t count) {
  const char* models = std::getenv("KALSCAN_MODELS");
  return models ? std::min<std::uint64_t>(count, std::strtoull(models, nullptr, 10)) : count;
}

struct generator {
  std::mt19937_64 engine;

  Index between(Index low, Index high) { return std::uniform_int_distribution<Index>(low, high)(engine); }
  MatrixXd normal(Index rows, Index cols) {
    MatrixXd x(rows, cols);
    oracle::fill_normal(x, engine);
    return x;
  }
  /// Exactly of the given rank: no product rounds.
  MatrixXd eighths(Index rows, Index cols) {
    return MatrixXd::NullaryExpr(rows, cols, [&] { return static_cast<double>(between(-3, 3)) / 8; });
  }
  MatrixXd rotation(Index n) { return Eigen::HouseholderQR<MatrixXd>(normal(n, n)).householderQ(); }
  /// Each row reads one state.
  MatrixXd sensors(Index m, Index n) {
    MatrixXd H = MatrixXd::Zero(m, n);
    for (Index i = 0; i < m; ++i) H(i, between(0, n - 1)) = static_cast<double>(between(1, 3));
    return H;
  }
  void lose_some(MatrixXd& y) {
    for (auto& value : y.reshaped()) {
      if (between(0, 7) == 0) value = std::numeric_limits<double>::quiet_NaN();
    }
  }
};

inline MatrixXd identity(Index n) { return MatrixXd::Identity(n, n); }
inline MatrixXd zero(Index n) { return MatrixXd::Zero(n, n); }

/// Models with about n states and m observed components.
using draw_type = std::function<problem_type(generator&, Index n, Index m)>;

inline draw_type several_sensors(double vague) {
  return [vague](generator& g, Index n, Index m) {
    const bool walks = g.between(0, 1) == 1;
    const VectorXd R = g.normal(m, 1).cwiseAbs2() + VectorXd::Constant(m, 0.01);
    problem_type p{{identity(n), MatrixXd((walks ? vague : 0.1) * identity(n)), g.sensors(m, n),
                    MatrixXd(R.asDiagonal()), prior_type::of_first_state(g.normal(n, 1), vague * identity(n))},
                   g.normal(m, 30)};
    g.lose_some(p.y);
    return p;
  };
}

inline problem_type exact_constraint(generator& g, Index, Index m) {
  const Index n = g.between(2, 5);
  MatrixXd W = g.eighths(n, n - 1), H = g.normal(m, n);
  W.row(n - 1) = -W.topRows(n - 1).colwise().sum();  // the sum of all states is constant
  H.row(0).setOnes();
  VectorXd R = g.normal(m, 1).cwiseAbs2();
  R(0) = 0;
  problem_type p{{identity(n), MatrixXd(W * W.transpose()), H, MatrixXd(R.asDiagonal()),
                  prior_type::of_first_state(g.normal(n, 1), 2 * identity(n))},
                 g.normal(m, 30)};
  p.y.row(0).setConstant(g.between(0, 1) ? 0 : 1.7);
  g.lose_some(p.y);
  return p;
}

inline draw_type exact_readings(bool turns) {
  return [turns](generator& g, Index n, Index m) {
    n = std::min<Index>(n, 4);
    const MatrixXd F = turns ? g.rotation(n) : identity(n), H = g.normal(m, n);
    VectorXd x = g.normal(n, 1);
    problem_type p{{F, zero(n), H, zero(m), prior_type::of_first_state(VectorXd::Zero(n), identity(n))},
                   MatrixXd(m, 15)};
    for (Index t = 0; t < 15; ++t, x = (F * x).eval()) p.y.col(t) = H * x;
    return p;
  };
}

inline problem_type correlated_noise(generator& g, Index n, Index m) {
  const MatrixXd W = g.eighths(m, g.between(0, m)), H = g.normal(m, n), G = g.normal(n, n);
  problem_type p{{MatrixXd(0.9 * g.rotation(n)), MatrixXd(G * G.transpose() + 0.1 * identity(n)), H,
                  MatrixXd(W * W.transpose()), prior_type::before_first_step(g.normal(n, 1), identity(n))},
                 MatrixXd(m, 25)};
  for (Index t = 0; t < 25; ++t) p.y.col(t) = H * g.normal(n, 1) + W * g.normal(W.cols(), 1);
  g.lose_some(p.y);
  return p;
}

inline problem_type inputs_alone(generator& g, Index n, Index) {
  MatrixXd H = MatrixXd::Zero(2, n);
  H.row(1) = g.normal(1, n);
  problem_type p{{MatrixXd(0.9 * g.rotation(n)), identity(n), H, MatrixXd(Eigen::Vector2d(0, 0.5).asDiagonal()),
                  prior_type::of_first_state(g.normal(n, 1), identity(n))},
                 g.normal(2, 20)};
  p.model.D = g.normal(2, 2);
  p.model.u = g.normal(2, 20);
  p.y.row(0) = p.model.D[0].row(0) * p.model.u;
  return p;
}

inline problem_type fading(generator& g, Index n, Index m) {
  VectorXd F(n), Q(n);
  for (Index i = 0; i < n; ++i) {
    F(i) = g.between(0, 1) ? 1 : 0.1 * static_cast<double>(g.between(1, 9));
    Q(i) = F(i) < 1 && g.between(0, 3) ? 0 : 0.1;
  }
  problem_type p{{MatrixXd(F.asDiagonal()), MatrixXd(Q.asDiagonal()), g.normal(m, n), MatrixXd(0.5 * identity(m)),
                  prior_type::of_first_state(g.normal(n, 1), 2 * identity(n))},
                 g.normal(m, 650)};
  return p;
}

inline problem_type singular_transitions(generator& g, Index n, Index m) {
  const VectorXd kept = VectorXd::NullaryExpr(n, [&] { return g.between(0, 2) ? 0.95 : 0.0; });
  const MatrixXd W = g.eighths(n, g.between(0, n));
  problem_type p{{MatrixXd(g.rotation(n) * kept.asDiagonal() * g.rotation(n)), MatrixXd(W * W.transpose()),
                  g.normal(m, n), identity(m), prior_type::of_first_state(g.normal(n, 1), identity(n))},
                 g.normal(m, 30)};
  g.lose_some(p.y);
  return p;
}

inline problem_type constant_states(generator& g, Index n, Index m) {
  std::vector<MatrixXd> H;
  for (int t = 0; t < 30; ++t) H.push_back(g.normal(m, n));
  return problem_type{
      {identity(n), zero(n), H, identity(m), prior_type::of_first_state(g.normal(n, 1), 1e4 * identity(n))},
      g.normal(m, 30)};
}

/// One shock moves all states, and one sum of them is read without noise: the rest is known by the inverse system,
/// which may be unstable. `beside`: another sum is read with noise.
inline draw_type one_shock(Index length, bool beside = false) {
  return [=](generator& g, Index, Index) {
    const Index n = g.between(2, 5);
    MatrixXd W = g.eighths(n, 1);
    W(0) = 0.25;
    const MatrixXd F = (g.between(0, 1) ? 0.8 : 1.0) * g.rotation(n), H = g.normal(beside ? 2 : 1, n);
    MatrixXd R = zero(H.rows());
    if (beside) R(1, 1) = 0.01;
    problem_type p{{F, MatrixXd(W * W.transpose()), H, R,
                    prior_type::of_first_state(VectorXd::Zero(n), 10 * identity(n))},
                   MatrixXd(H.rows(), length)};
    VectorXd x = 3 * g.normal(n, 1);
    for (Index t = 0; t < length; ++t, x = (F * x + W * g.normal(1, 1)).eval())
      p.y.col(t) = H * x + R.cwiseSqrt() * g.normal(H.rows(), 1);
    return p;
  };
}

/// Fewer shocks than sensors without noise: some say for certain what the state before was, and all is known soon, but
/// by the inverse of any part of them, which may be unstable, it would not stay known. `states` are those of the data.
inline draw_type fewer_shocks(Index shocks, Index sensors, Index length, oracle::matrix& states) {
  return [=, &states](generator& g, Index, Index) {
    const Index n = g.between(2, 5);
    MatrixXd W = g.eighths(n, shocks);
    W(0) = 0.25;
    const MatrixXd F = (g.between(0, 1) ? 0.8 : 1.0) * g.rotation(n), H = g.normal(sensors, n);
    problem_type p{{F, MatrixXd(W * W.transpose()), H, zero(sensors),
                    prior_type::of_first_state(VectorXd::Zero(n), 10 * identity(n))},
                   MatrixXd(sensors, length)};
    states.resize(n, length);
    oracle::matrix x = 3 * g.normal(n, 1).cast<oracle::real>();
    for (Index t = 0; t < length; ++t) {
      states.col(t) = x;
      p.y.col(t) = (H.cast<oracle::real>() * x).eval().cast<double>();
      x = F.cast<oracle::real>() * x + (W * g.normal(shocks, 1)).cast<oracle::real>();
    }
    return p;
  };
}

/// ARMA models in the form of Harvey, where all is known exactly in the end; some moving averages are not invertible.
/// The coefficients are such that the rank of Q is one exactly.
inline draw_type arma(Index length) {
  return [=](generator& g, Index, Index) {
    const Index n = g.between(2, 5);
    const auto polynomial = [&](Index degree, Index most) {
      VectorXd c = VectorXd::Zero(degree + 1);
      c(0) = 1;
      for (Index k = 0; k < degree; ++k) {
        const double root = 0.125 * static_cast<double>(g.between(-most, most));
        for (Index i = k + 1; i > 0; --i) c(i) -= root * c(i - 1);
      }
      return c;
    };
    MatrixXd F = zero(n), H = MatrixXd::Zero(1, n);
    F.col(0) = -polynomial(n, 7).tail(n);
    F.topRightCorner(n - 1, n - 1).setIdentity();
    H(0) = 1;
    const MatrixXd W = polynomial(n - 1, g.between(0, 3) ? 7 : 11);
    problem_type p{{F, MatrixXd(W * W.transpose()), H, zero(1),
                    prior_type::of_first_state(VectorXd::Zero(n), 10 * identity(n))},
                   MatrixXd(1, length)};
    VectorXd x = 3 * g.normal(n, 1);
    for (Index t = 0; t < length; ++t, x = (F * x + W * g.normal(1, 1)).eval()) p.y.col(t) = H * x;
    return p;
  };
}

/// States that shrink or grow at each step, by factors up to `most` tenths, with a gap in the data.
inline draw_type growing(Index most, bool all_read) {
  return [=](generator& g, Index n, Index m) {
    if (all_read) m = n;
    const MatrixXd V = g.rotation(n);
    const VectorXd growth = VectorXd::NullaryExpr(n, [&] { return 0.1 * static_cast<double>(g.between(5, most)); });
    problem_type p{{MatrixXd(V * growth.asDiagonal() * V.transpose()), identity(n), g.normal(m, n), identity(m),
                    prior_type::of_first_state(g.normal(n, 1), identity(n))},
                   g.normal(m, 40)};
    p.y.middleCols(15, g.between(1, 12)).setConstant(std::numeric_limits<double>::quiet_NaN());
    return p;
  };
}

struct family {
  std::string name;
  draw_type draw;
  int count = 100;  // of models that are worth their time
};

inline const std::vector<family> all = {{"several sensors, prior variance 1e7", several_sensors(1e7)},
                                        {"several sensors, prior variance 1e14", several_sensors(1e14)},
                                        {"exact constraint", exact_constraint},
                                        {"exact readings of a state at rest", exact_readings(false)},
                                        {"exact readings of a state that turns", exact_readings(true)},
                                        {"correlated noise of any rank", correlated_noise},
                                        {"observation of the inputs alone", inputs_alone},
                                        {"components that fade", fading, 12},
                                        {"singular transitions and noise", singular_transitions},
                                        {"constant states", constant_states}};

inline problem_type draw(const draw_type& f, std::uint64_t seed) {
  generator g{std::mt19937_64(seed)};
  const Index n = g.between(1, 6), m = g.between(1, 4);
  return f(g, n, m);
}

}  // namespace model_families
