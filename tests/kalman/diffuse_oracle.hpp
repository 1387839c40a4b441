// SPDX-License-Identifier: MIT
// The exactly diffuse prior in quadruple precision, without a filter: the states of all steps and the noise of all
// observations are one Gaussian vector N(mean, P + kappa P_inf), conditioned on one exact scalar reading after the other in
// the limit of large kappa (Koopman, JASA 92, 1997).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <kalscan/kalscan.hpp>
#include <numbers>
#include <vector>

#include "shared.hpp"

namespace diffuse_oracle {

using real = __float128;
using Eigen::Dynamic;
using model_type = kalscan::kalman_model<double, Dynamic, Dynamic>;
using series_type = kalscan::observations<double, Dynamic>;

inline real magnitude(real x) { return x < 0 ? -x : x; }

/// A square matrix, row by row.
struct square {
  std::size_t n;
  std::vector<real> entries;
  explicit square(std::size_t n_) : n(n_), entries(n_ * n_, real(0)) {}
  real& operator()(std::size_t i, std::size_t j) { return entries[i * n + j]; }
  real operator()(std::size_t i, std::size_t j) const { return entries[i * n + j]; }
};

/// A belief about one state, in double.
struct belief {
  Eigen::VectorXd mean;
  Eigen::MatrixXd covariance, diffuse;
  bool proper;
};

class conditioning {
 public:
  std::vector<belief> predicted, filtered, smoothed;
  std::vector<double> log_likelihood_terms;
  bool contradictory = false;

  conditioning(const model_type& model, const series_type& y) : conditioning(model, y, nullptr, 0) {}

  /// The same conditioning, with the same readings found redundant, where every number of model and data is off by one
  /// rounding of double or by none, at random; covariances are so by rows and columns, which keeps their rank.
  conditioning rounded(std::uint64_t seed) const { return {model_, y_, this, seed}; }

  double log_likelihood() const {
    double sum = 0;
    for (const double term : log_likelihood_terms) sum += term;
    return sum;
  }

 private:
  static constexpr real rounding = 1e-24, rounding_inf = 1e-20;

  enum class told { nothing, something, first };
  enum class given : std::uint64_t { F, Q, H, R, B, D, u, y, mean, covariance };

  conditioning(const model_type& model, const series_type& y, const conditioning* exact, std::uint64_t seed)
      : model_(model), y_(y), size_(total()), P_(size_), P_inf_(size_), exact_(exact), seed_(seed) {
    lay_out();
    scale_.resize(size_);
    scale_inf_.resize(size_);
    for (std::size_t i = 0; i < size_; ++i) {
      scale_[i] = P_(i, i);
      scale_inf_[i] = P_inf_(i, i);
      most_ = most_ < P_(i, i) ? P_(i, i) : most_;
    }
    for (std::int64_t t = 0; t < y.cols(); ++t) {
      predicted.push_back(state(t));
      real term = 0;
      for (Eigen::Index i = 0; i < y.rows(); ++i) {
        if (!std::isnan(y(i, t))) term += read(t, i);
      }
      log_likelihood_terms.push_back(static_cast<double>(term));
      filtered.push_back(state(t));
    }
    for (std::int64_t t = 0; t < y.cols(); ++t) smoothed.push_back(state(t));
  }

  /// 1, or off by one rounding: a number that depends on the entry alone.
  real factor(given which, std::int64_t t, std::size_t i, std::size_t j = 0) const {
    if (!exact_) return 1;
    std::uint64_t x = seed_;
    for (const std::uint64_t part :
         {static_cast<std::uint64_t>(which), static_cast<std::uint64_t>(t), std::uint64_t(i), std::uint64_t(j)}) {
      x = (x + part + 0x9e3779b97f4a7c15) * 0xbf58476d1ce4e5b9;
      x ^= x >> 29;
    }
    return 1 + real(0x1p-52) * (static_cast<int>(x % 3) - 1);
  }
  template <class Steps>
  real entry(given which, const Steps& steps, std::int64_t t, std::size_t i, std::size_t j) const {
    return real(steps[t](index(i), index(j))) * factor(which, steps.constant() ? 0 : t, i, j);
  }
  real covariance(given which, const Eigen::MatrixXd& x, std::int64_t t, std::size_t i, std::size_t j) const {
    return real(x(index(i), index(j))) * factor(which, t, i) * factor(which, t, j);
  }
  template <class Steps>
  real covariance_at(given which, const Steps& steps, std::int64_t t, std::size_t i, std::size_t j) const {
    return covariance(which, steps[t], steps.constant() ? 0 : t, i, j);
  }
  /// The part of an input in row i at step t.
  template <class Steps>
  real of_input(given which, const Steps& steps, std::int64_t t, std::size_t i) const {
    real sum = 0;
    for (std::size_t k = 0; !steps.empty() && k < static_cast<std::size_t>(model_.u.rows()); ++k) {
      const auto at = static_cast<std::size_t>(t);
      sum += entry(which, steps, t, i, k) * real(model_.u(index(k), index(at))) * factor(given::u, t, k);
    }
    return sum;
  }
  real F(std::int64_t t, std::size_t i, std::size_t j) const { return entry(given::F, model_.F, t, i, j); }

  std::size_t n() const { return static_cast<std::size_t>(model_.states()); }
  std::size_t m() const { return static_cast<std::size_t>(model_.observed()); }
  std::size_t total() const { return static_cast<std::size_t>(y_.cols()) * (n() + m()); }
  std::size_t state_at(std::int64_t t) const { return static_cast<std::size_t>(t) * (n() + m()); }
  static Eigen::Index index(std::size_t i) { return static_cast<Eigen::Index>(i); }

  /// Means and covariances of everything before any data.
  void lay_out() {
    mean_.assign(size_, real(0));
    const auto add_input = [&](std::int64_t t) {
      for (std::size_t i = 0; i < n(); ++i) mean_[state_at(t) + i] += of_input(given::B, model_.B, t, i);
    };
    // The state before the first step, if need be, is moved in place.
    for (std::size_t i = 0; i < n(); ++i) {
      const bool flat = !model_.prior.diffuse.empty() && model_.prior.diffuse[i];
      mean_[i] = flat ? real(0) : real(model_.prior.mean(index(i))) * factor(given::mean, 0, i);
      P_inf_(i, i) = flat ? 1 : 0;
      for (std::size_t j = 0; j < n(); ++j) P_(i, j) = covariance(given::covariance, model_.prior.covariance, 0, i, j);
    }
    if (model_.prior.before_first_transition) {
      move(P_, 0, 0, 0);
      move(P_inf_, 0, 0, 0);
      add_noise(0);
      std::vector<real> moved(n(), real(0));
      for (std::size_t i = 0; i < n(); ++i) {
        for (std::size_t j = 0; j < n(); ++j) moved[i] += F(0, i, j) * mean_[j];
      }
      for (std::size_t i = 0; i < n(); ++i) mean_[i] = moved[i];
      add_input(0);
    }
    add_errors(0);
    for (std::int64_t t = 1; t < y_.cols(); ++t) {
      const std::size_t from = state_at(t - 1), to = state_at(t);
      move(P_, t, from, to);
      move(P_inf_, t, from, to);
      add_noise(t);
      for (std::size_t i = 0; i < n(); ++i) {
        for (std::size_t j = 0; j < n(); ++j) mean_[to + i] += F(t, i, j) * mean_[from + j];
      }
      add_input(t);
      add_errors(t);
    }
  }

  /// Rows and columns of the state at `to`, from those at `from`, which may be the same.
  void move(square& x, std::int64_t t, std::size_t from, std::size_t to) {
    std::vector<real> row(size_);
    square rows(size_);
    for (std::size_t i = 0; i < n(); ++i) {
      for (std::size_t k = 0; k < size_; ++k) {
        for (std::size_t j = 0; j < n(); ++j) rows(i, k) += F(t, i, j) * x(from + j, k);
      }
    }
    for (std::size_t i = 0; i < n(); ++i) {
      for (std::size_t k = 0; k < size_; ++k) {
        if (k >= to && k < to + n()) continue;
        x(to + i, k) = x(k, to + i) = rows(i, k);
      }
      for (std::size_t k = 0; k < n(); ++k) {
        real sum = 0;
        for (std::size_t j = 0; j < n(); ++j) sum += rows(i, from + j) * F(t, k, j);
        row[k] = sum;
      }
      for (std::size_t k = 0; k < n(); ++k) rows(i, to + k) = row[k];
    }
    for (std::size_t i = 0; i < n(); ++i) {
      for (std::size_t k = 0; k < n(); ++k) x(to + i, to + k) = rows(i, to + k);
    }
  }
  void add_noise(std::int64_t t) {
    for (std::size_t i = 0; i < n(); ++i) {
      for (std::size_t j = 0; j < n(); ++j)
        P_(state_at(t) + i, state_at(t) + j) += covariance_at(given::Q, model_.Q, t, i, j);
    }
  }
  void add_errors(std::int64_t t) {
    const std::size_t at = state_at(t) + n();
    for (std::size_t i = 0; i < m(); ++i) {
      for (std::size_t j = 0; j < m(); ++j) P_(at + i, at + j) = covariance_at(given::R, model_.R, t, i, j);
      mean_[at + i] += of_input(given::D, model_.D, t, i);
    }
  }

  /// Conditions on component i of step t; returns the logarithm of its density.
  real read(std::int64_t t, Eigen::Index i) {
    std::vector<std::size_t> at;
    std::vector<real> h;
    for (std::size_t j = 0; j < n(); ++j) {
      at.push_back(state_at(t) + j);
      h.push_back(entry(given::H, model_.H, t, static_cast<std::size_t>(i), j));
    }
    at.push_back(state_at(t) + n() + static_cast<std::size_t>(i));
    h.push_back(1);
    std::vector<real> Ph(size_, real(0)), Ph_inf(size_, real(0));
    real F = 0, F_inf = 0, v = real(y_(i, t)) * factor(given::y, t, static_cast<std::size_t>(i));
    real size = 0, size_inf = 0, squares = 0, terms = magnitude(v);
    for (std::size_t k = 0; k < at.size(); ++k) {
      for (std::size_t j = 0; j < size_; ++j) {
        Ph[j] += P_(j, at[k]) * h[k];
        Ph_inf[j] += P_inf_(j, at[k]) * h[k];
      }
      v -= h[k] * mean_[at[k]];
      terms += magnitude(h[k] * mean_[at[k]]);
      size += h[k] * h[k] * scale_[at[k]];
      squares += h[k] * h[k];
      size_inf += h[k] * h[k] * scale_inf_[at[k]];
    }
    for (std::size_t k = 0; k < at.size(); ++k) {
      F += h[k] * Ph[at[k]];
      F_inf += h[k] * Ph_inf[at[k]];
    }
    const real two_pi = 2 * std::numbers::pi_v<long double>;
    const auto log = [](real x) { return real(std::log(static_cast<long double>(x))); };
    const bool informs = F > rounding * (size + squares * most_);
    told_.push_back(F_inf > rounding_inf * size_inf ? told::first : informs ? told::something : told::nothing);
    const told tells = exact_ ? exact_->told_[told_.size() - 1] : told_.back();
    if (tells == told::first) {
      for (std::size_t j = 0; j < size_; ++j) Ph_inf[j] /= F_inf;
      for (std::size_t j = 0; j < size_; ++j) {
        mean_[j] += Ph_inf[j] * v;
        scale_[j] += Ph_inf[j] * Ph_inf[j] * size;
        for (std::size_t k = 0; k < size_; ++k) {
          P_(j, k) += Ph_inf[j] * Ph_inf[k] * F - Ph_inf[j] * Ph[k] - Ph[j] * Ph_inf[k];
          P_inf_(j, k) -= Ph_inf[j] * Ph_inf[k] * F_inf;
        }
        most_ = most_ < P_(j, j) ? P_(j, j) : most_;
      }
      return -(log(two_pi) + log(F_inf)) / 2;
    }
    if (tells == told::something) {
      for (std::size_t j = 0; j < size_; ++j) {
        mean_[j] += Ph[j] * v / F;
        for (std::size_t k = 0; k < size_; ++k) P_(j, k) -= Ph[j] * Ph[k] / F;
      }
      return -(log(two_pi) + log(F) + v * v / F) / 2;
    }
    contradictory = contradictory || magnitude(v) > real(1e-12) * terms;
    return 0;
  }

  belief state(std::int64_t t) const {
    const std::size_t at = state_at(t);
    belief x{Eigen::VectorXd(index(n())), Eigen::MatrixXd(index(n()), index(n())), Eigen::MatrixXd(index(n()), index(n())), true};
    for (std::size_t i = 0; i < n(); ++i) {
      x.mean(index(i)) = static_cast<double>(mean_[at + i]);
      for (std::size_t j = 0; j < n(); ++j) {
        const auto entry = [](real value, real least) { return magnitude(value) <= least ? 0.0 : static_cast<double>(value); };
        x.covariance(index(i), index(j)) = entry(P_(at + i, at + j), rounding * most_);
        x.diffuse(index(i), index(j)) =
            entry(P_inf_(at + i, at + j), rounding_inf * (scale_inf_[at + i] + scale_inf_[at + j]));
      }
    }
    x.proper = x.diffuse.isZero(0);
    return x;
  }

  const model_type& model_;
  const series_type& y_;
  std::size_t size_;
  std::vector<real> mean_, scale_, scale_inf_;  // scale: what was summed into each variance
  real most_ = 0;
  square P_, P_inf_;
  std::vector<told> told_;     // by each reading, in the order of reading
  const conditioning* exact_;  // of which this one is a rounded copy; else null
  std::uint64_t seed_;
};

/// The worst error of a belief, improper with these `diffuse` covariances unless there are none, in standard deviations,
/// or in 1e-4 of the size of the states, which are about one, where these are smaller; 1 where one is improper and the
/// other not.
inline double defect(const belief& expected, const Eigen::MatrixXd& mean, const Eigen::MatrixXd& covariance,
                     const Eigen::MatrixXd* diffuse) {
  if ((diffuse == nullptr) != expected.proper) return 1;
  const auto scale = [](const Eigen::MatrixXd& x) {
    const double least = 1e-8 * std::max(x.diagonal().maxCoeff(), 0.0);
    return Eigen::VectorXd(x.diagonal().cwiseMax(least).cwiseSqrt());
  };
  const Eigen::VectorXd sd = scale(expected.covariance).array() + 1e-4, spread = scale(expected.diffuse);
  double worst = 0;
  for (Eigen::Index i = 0; i < mean.size(); ++i) {
    const double size = sd(i) + 1e-4 * std::abs(expected.mean(i));
    worst = std::max(worst, std::abs(mean(i) - expected.mean(i)) / size);
    for (Eigen::Index j = 0; j < mean.size(); ++j) {
      worst = std::max(worst, std::abs(covariance(i, j) - expected.covariance(i, j)) / (sd(i) * sd(j) + 1e-4));
      if (expected.proper) continue;
      worst = std::max(worst, std::abs((*diffuse)(i, j) - expected.diffuse(i, j)) / (spread(i) * spread(j)));
    }
  }
  return std::isfinite(worst) ? worst : 1;
}

/// What a rounding of each number of the model and the data, by chance, does to the exact answer.
inline double condition(const conditioning& exact) {
  double worst = 0;
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    const conditioning other = exact.rounded(seed);
    const auto off = [](const belief& expected, const belief& x) {
      return defect(expected, x.mean, x.covariance, x.proper ? nullptr : &x.diffuse);
    };
    for (std::size_t t = 0; t < exact.filtered.size(); ++t)
      worst = std::max({worst, off(exact.filtered[t], other.filtered[t]), off(exact.smoothed[t], other.smoothed[t])});
  }
  return worst;
}

}  // namespace diffuse_oracle
