// SPDX-License-Identifier: MIT
// The interface's functions for the matrix filter: which number type, and where the arrays lie.
#include <initializer_list>

#include "calls.hpp"
#include "kalman_call.hpp"

namespace kalscan::c {
namespace {

/// All arrays lie on the CPU; their types are checked where they are read.
void require_host(std::initializer_list<const DLTensor*> arrays) {
  for (const DLTensor* x : arrays) {
    if (x != nullptr && !on_host(*x))
      throw not_built("kalscan: filter, smooth and log_likelihood take arrays in the CPU's memory: copy them there");
  }
}
void require_host(const kalscan_beliefs& x) { require_host({x.mean, x.covariance, x.diffuse}); }

const kalman_functions& prepared(const kalscan_model* model, const DLTensor* y, const kalscan_filtered& results) {
  if (model == nullptr) bad("the model is not given");
  if (y == nullptr) bad("y is not given");
  if (model->F == nullptr) bad("F is not given");
  const auto& [F, Q, H, R, B, D, u, mean, covariance, diffuse, before, root] = *model;
  require_host({F, Q, H, R, B, D, u, mean, covariance, diffuse, y, results.innovation, results.innovation_covariance,
                results.log_likelihood_terms, results.log_likelihood});
  require_host(results.filtered);
  require_host(results.predicted);
  if (same(y->dtype, type_of<double>)) return kalman_double;
  if (same(y->dtype, type_of<float>)) return kalman_float;
  bad("y is " + name_of(y->dtype) + ", not float64 or float32");
}

kalscan_filtered given_or_none(const kalscan_filtered* x) { return x == nullptr ? kalscan_filtered{} : *x; }

}  // namespace
}  // namespace kalscan::c

using namespace kalscan::c;

int kalscan_filter(const kalscan_model* model, const DLTensor* y, const DLTensor* offsets,
                   const kalscan_filtered* results, const kalscan_run* run) {
  return guarded([&] {
    const kalscan_filtered wanted = given_or_none(results);
    prepared(model, y, wanted).filter({*model, *y, offsets, wanted, {}, given_or_none(run)});
  });
}

int kalscan_log_likelihood(const kalscan_model* model, const DLTensor* y, const DLTensor* offsets,
                           const DLTensor* log_likelihood, const kalscan_run* run) {
  return guarded([&] {
    kalscan_filtered wanted{};
    wanted.log_likelihood = log_likelihood;
    prepared(model, y, wanted).log_likelihood({*model, *y, offsets, wanted, {}, given_or_none(run)});
  });
}

int kalscan_smooth(const kalscan_model* model, const DLTensor* y, const DLTensor* offsets,
                   const kalscan_beliefs* smoothed, const kalscan_filtered* results, const kalscan_run* run) {
  return guarded([&] {
    const kalscan_filtered wanted = given_or_none(results);
    const kalscan_beliefs beliefs = smoothed == nullptr ? kalscan_beliefs{} : *smoothed;
    const auto& functions = prepared(model, y, wanted);
    require_host(beliefs);
    functions.smooth({*model, *y, offsets, wanted, beliefs, given_or_none(run)});
  });
}
