// SPDX-License-Identifier: MIT
// What a program with KALSCAN_COMPILED defined does not compile itself, but finds in the library kalscan::compiled: the
// code of filters and smoothers that depends on the number type alone, and what cuts and runs sweeps. The results are
// the same. The library is built from this list, too: its source says where it has the definitions.
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#if defined(KALSCAN_COMPILED)

#include <cstddef>
#include <cstdint>
#include <kalscan/backend/any_chains.hpp>
#include <kalscan/backend/run_sweep.hpp>
#include <kalscan/kalman/filter.hpp>
#include <kalscan/kalman/smoother_sweep.hpp>
#include <string>
#include <vector>

#if defined(KALSCAN_COMPILED_SOURCE)
#define KALSCAN_COMPILED_HERE
#else
#define KALSCAN_COMPILED_HERE extern
#endif

namespace kalscan::detail {

/// How Eigen allocates and frees memory depends on the vectors that it is compiled for. A program that is compiled for
/// other vectors than the library does not link: the name of this function has the sizes in it.
template <int Alignment, int StaticAlignment, int World, int Major>
void compiled_for_the_same_vectors();
#define KALSCAN_EIGEN \
  EIGEN_DEFAULT_ALIGN_BYTES, EIGEN_MAX_STATIC_ALIGN_BYTES, EIGEN_WORLD_VERSION, EIGEN_MAJOR_VERSION
#if !defined(KALSCAN_COMPILED_SOURCE)
namespace {
[[maybe_unused, gnu::used]] void (*const for_the_same_vectors)() = compiled_for_the_same_vectors<KALSCAN_EIGEN>;
}
#else
template <>
void compiled_for_the_same_vectors<KALSCAN_EIGEN>() {}
#endif
#undef KALSCAN_EIGEN

KALSCAN_COMPILED_HERE template void run_chains(const any_tasks&, any_chains<true>);
KALSCAN_COMPILED_HERE template void run_chains(const any_tasks&, any_chains<false>);
KALSCAN_COMPILED_HERE template void run_whole_lanes(const any_tasks&, std::int64_t, lanes_ref);
KALSCAN_COMPILED_HERE template std::vector<std::int64_t> cuts_of_time(const any_tasks&, std::int64_t, std::int64_t,
                                                                      double, bool);
KALSCAN_COMPILED_HERE template std::string text_of_failure(std::int64_t, std::int64_t, const std::string&);

#define KALSCAN_COMPILED_FOR(T)                                                                               \
  KALSCAN_COMPILED_HERE template void check_model(const model_view<T>&, const model_steps&);                  \
  KALSCAN_COMPILED_HERE template void check_model_of(const model_view<T>&, const model_steps&, std::size_t);  \
  KALSCAN_COMPILED_HERE template void check_series(const dense_view<T>&, Eigen::Index, std::size_t, bool);    \
  KALSCAN_COMPILED_HERE template void filter_beginning(beginning_steps<T>&, const prior_view<T>&,             \
                                                       diffuse_history<T>&);                                  \
  KALSCAN_COMPILED_HERE template void smooth_from_end(smoothed_beginning<T>&, const diffuse_history<T>&,      \
                                                      const dense_vector<T>&, const dense_view<T>&);          \
  KALSCAN_COMPILED_HERE template void smooth_from_readings(smoothed_beginning<T>&, const diffuse_history<T>&, \
                                                           const dense_matrix<T>&, const dense_vector<T>&);   \
  KALSCAN_COMPILED_HERE template state_given_next<T> given_next(const dense_view<T>&, const dense_view<T>&,   \
                                                                const dense_view<T>&);                        \
  KALSCAN_COMPILED_HERE template dense_matrix<T> root_of<T>(view_of<T>);                                      \
  KALSCAN_COMPILED_HERE template dense_matrix<T> narrowed(const dense_matrix<T>&);                            \
  KALSCAN_COMPILED_HERE template compensated_matrix<T> narrowed(compensated_matrix<T>);                       \
  KALSCAN_COMPILED_HERE template void multiply(dense_matrix<T>&, view_of<T>, view_of<T>);                     \
  KALSCAN_COMPILED_HERE template void add_outer(dense_matrix<T>&, T, view_of<T>, view_of<T>);                 \
  KALSCAN_COMPILED_HERE template void triangulate_columns(T*, Eigen::Index, Eigen::Index, Eigen::Index);      \
  KALSCAN_COMPILED_HERE template std::vector<std::vector<T>> stretch_sums<T>::by_stretch(std::size_t) const;  \
  KALSCAN_COMPILED_HERE template std::vector<T> stretch_sums<T>::totals(std::size_t) const;
KALSCAN_COMPILED_FOR(double)
KALSCAN_COMPILED_FOR(float)
#undef KALSCAN_COMPILED_FOR
#undef KALSCAN_COMPILED_HERE

}  // namespace kalscan::detail

#endif
