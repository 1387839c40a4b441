// SPDX-License-Identifier: MIT
// A model of the oracle as one whose matrices are functions of the step.
#pragma once

#include <cstddef>
#include <cstdint>
#include <kalscan/kalman/functions/model.hpp>
#include <kalscan/kalman/model/model.hpp>
#include <kalscan/kalman/small/matrix.hpp>

/// The matrices of a dynamic model as one of functions, inputs included, with this prior in place of its own.
template <class T, int N, int M, class Prior>
[[nodiscard]] auto functions_of(const kalscan::kalman_model<double, Eigen::Dynamic, Eigen::Dynamic>& model,
                                const Prior& prior) {
  using kalscan::detail::to_small, kalscan::small_matrix, kalscan::small_symmetric, kalscan::small_vector;
  const auto* p = &model;
  const auto input = [p](const auto& B, std::int64_t t) -> Eigen::VectorXd {
    return B.empty() ? Eigen::VectorXd() : Eigen::VectorXd(B[t] * p->u.col(t));
  };
  return kalscan::model_of<T, N, M>(
      [p](std::int64_t t) { return to_small<small_matrix<T, N, N>>(p->F[t]); },
      [p](std::int64_t t) { return to_small<small_symmetric<T, N>>(p->Q[t]); },
      [p](std::int64_t t) { return to_small<small_matrix<T, M, N>>(p->H[t]); },
      [p](std::int64_t t) { return to_small<small_symmetric<T, M>>(p->R[t]); }, prior, model.prior.before_first_transition,
      [p, input](std::int64_t t) {
        return p->B.empty() ? small_vector<T, N>{} : to_small<small_vector<T, N>>(input(p->B, t));
      },
      [p, input](std::int64_t t) {
        return p->D.empty() ? small_vector<T, M>{} : to_small<small_vector<T, M>>(input(p->D, t));
      });
}

/// With a prior that is proper.
template <class T, int N, int M>
[[nodiscard]] auto functions_of(const kalscan::kalman_model<double, Eigen::Dynamic, Eigen::Dynamic>& model) {
  using kalscan::detail::to_small;
  return functions_of<T, N, M>(
      model, kalscan::small_belief<T, N>{to_small<kalscan::small_vector<T, N>>(model.prior.mean),
                                         to_small<kalscan::small_symmetric<T, N>>(model.prior.covariance)});
}

/// With one that may be diffuse.
template <class T, int N, int M>
[[nodiscard]] auto diffuse_functions_of(const kalscan::kalman_model<double, Eigen::Dynamic, Eigen::Dynamic>& model) {
  using kalscan::detail::to_small;
  kalscan::small_diffuse_belief<T, N> prior{to_small<kalscan::small_vector<T, N>>(model.prior.mean),
                                            to_small<kalscan::small_symmetric<T, N>>(model.prior.covariance),
                                            {}};
  for (std::size_t i = 0; i < model.prior.diffuse.size(); ++i) {
    const int k = static_cast<int>(i);
    if (model.prior.diffuse[i]) prior.mean(k) = 0, prior.directions(k, k) = 1;
  }
  return functions_of<T, N, M>(model, prior);
}
