// SPDX-License-Identifier: MIT
// What runs on the host. The matrix Kalman filter and smoother come with it where Eigen is found. To be included by
// name: <kalscan/compare.hpp>, <kalscan/ranks/...>, <kalscan/kla/check_mixer.hpp>, stationary priors
// (<kalscan/kalman/model/stationary_prior.hpp>), and models of functions (<kalscan/kalman/function_filter.hpp>).
#pragma once

#include <kalscan/backend/omp.hpp>
#include <kalscan/backend/seq.hpp>
#include <kalscan/kalman/scalar/belief.hpp>
#include <kalscan/kalman/scalar/filter.hpp>
#include <kalscan/kalman/scalar/filtering_element.hpp>
#include <kalscan/kalman/scalar/information_map.hpp>
#include <kalscan/kla/backward.hpp>
#include <kalscan/kla/forward.hpp>
#include <kalscan/kla/gla.hpp>
#include <kalscan/kla/kla.hpp>
#include <kalscan/kla/rotating_kla.hpp>
#include <kalscan/laws.hpp>
#include <kalscan/mixer/mixer.hpp>
#include <kalscan/mixer/states.hpp>
#include <kalscan/mixer/storage.hpp>
#include <kalscan/mixer/tensor.hpp>
#include <kalscan/monoid.hpp>
#include <kalscan/monoids/affine.hpp>
#include <kalscan/monoids/bicyclic.hpp>
#include <kalscan/monoids/hmm.hpp>
#include <kalscan/monoids/linear_recurrence.hpp>
#include <kalscan/monoids/matrix.hpp>
#include <kalscan/monoids/mobius.hpp>
#include <kalscan/monoids/permutation.hpp>
#include <kalscan/monoids/reversed.hpp>
#include <kalscan/monoids/segmented.hpp>
#include <kalscan/recurrence.hpp>
#include <kalscan/scan.hpp>
#include <kalscan/sequences.hpp>

#if __has_include(<Eigen/Core>)
#include <kalscan/kalman/elements/filtering_element.hpp>
#include <kalscan/kalman/elements/smoothing_element.hpp>
#include <kalscan/kalman/filter.hpp>
#include <kalscan/kalman/forecast.hpp>
#include <kalscan/kalman/model/gaussian_prior.hpp>
#include <kalscan/kalman/model/model.hpp>
#include <kalscan/kalman/model/prior_after.hpp>
#include <kalscan/kalman/online_filter.hpp>
#include <kalscan/kalman/smoother.hpp>
#include <kalscan/kalman/square_root.hpp>
#else
#include <kalscan/kalman/linalg/without_eigen.hpp>
#endif
