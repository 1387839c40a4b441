// SPDX-License-Identifier: MIT
// How a device smooths under a diffuse prior, in two parts. Steps at which nothing is unknown any more are taken by
// information, as under a proper prior. The steps before them are taken by equations for what later data say, which cost
// several times as much. No kernel has both parts, so that the first needs no more registers than under a proper prior.
#pragma once

#include <cstdint>
#include <kalscan/kalman/series/access.hpp>
#include <kalscan/kalman/series/filter_traversal.hpp>
#include <kalscan/kalman/series/series.hpp>
#include <kalscan/kalman/series/smoother_traversal.hpp>
#include <kalscan/kalman/series/step.hpp>
#include <kalscan/kalman/small/diffuse_smoothing.hpp>
#include <kalscan/kalman/small/smoothing.hpp>
#include <kalscan/support/config.hpp>

namespace kalscan::detail {

/// The steps of a chunk at which something is unknown: from its first one to `last`, or none if that is negative. `later`:
/// what the data after `last` say of the state at `last`. `origin`: the filtered mean of the chunk's last step.
template <class T, int N>
struct unknown_steps {
  small_likelihood<T, N> later;
  small_vector<T, N> origin;
  std::int64_t last;
};

/// The smoother of a model as if its prior were proper.
template <class Model>
using smoother_by_information =
    smoother_traversal<Model, filtered_rows::ahead, small_belief<typename Model::value_type, Model::states>>;

/// The first part: takes the steps of a chunk from the last one to the first at which nothing is unknown, and leaves those
/// before it to equations_smoother.
template <state_space_model Model>
struct information_smoother : smoother_by_information<Model> {
  using base = smoother_by_information<Model>;
  using base::n;
  using typename base::T, typename base::state;

  unknown_steps<T, n>* unknown = nullptr;  // of chunks
  std::int64_t most_chunks = 0;            // of a series

  KALSCAN_HD unknown_steps<T, n>& unknown_of(std::int64_t i, std::int64_t k) const {
    return unknown[i * most_chunks + k];
  }
  KALSCAN_HD T variance(std::int64_t i, std::int64_t t, int j) const {  // filtered
    return this->spread[(this->series.begin(i) + t) * (n * n) + j * (n + 1)];
  }
  KALSCAN_HD std::int64_t first_of(std::int64_t i, std::int64_t k) const {
    const std::int64_t first = this->series.length(i) - (k + 1) * this->chunk;
    return first > 0 ? first : 0;
  }
  /// The first step of a chunk at which nothing is unknown, or the one after its last; nothing becomes unknown later. Steps
  /// after unknown ones count as unknown, too, while a filtered variance is so far above that of the chunk's last step
  /// that the information form would lose digits.
  KALSCAN_HD std::int64_t first_known(std::int64_t i, std::int64_t k) const {
    const std::int64_t end = this->series.length(i) - k * this->chunk, first = first_of(i, k);
    std::int64_t t = first;
    for (; t < end; ++t) {
      const T* at = directions_at<n>(this->directions, this->series.count, i, t);
      if (at == nullptr || is_zero(read_matrix<small_matrix<T, n, n>>(at))) break;
    }
    const auto known_so_little = [&](std::int64_t step) {
      constexpr T far = sizeof(T) == 4 ? T(0x1p14) : T(0x1p20);
      bool little = false;
      for (int j = 0; j < n; ++j) little = little || variance(i, step, j) > far * variance(i, end - 1, j);
      return little;
    };
    while (t > first && t < end - 1 && known_so_little(t)) ++t;
    return t;
  }

  class replay_type : public base::replay_type {
   public:
    KALSCAN_HD replay_type(const information_smoother& x, std::int64_t i, std::int64_t k, const state& later)
        : replay_type(x, i, k, later, x.first_known(i, k)) {}

    KALSCAN_HD T finish() const {
      for (std::int64_t t = this->to_ + 1; t <= this->from_; ++t) {
        T* at = directions_at<n>(own_.out.directions, own_.series.count, this->series_, t);
        if (at == nullptr) break;
        write_matrix(at, small_matrix<T, n, n>{});
      }
      unknown_steps<T, n>& left = own_.unknown_of(this->series_, k_);
      left.last = this->goes_on_ ? this->to_ : -1;
      if (this->goes_on_) left.later = this->later_;
      return T(0);
    }

   private:
    KALSCAN_HD replay_type(const information_smoother& x, std::int64_t i, std::int64_t k, const state& later,
                           std::int64_t known)
        : base::replay_type(x, i, k, later, known > x.first_of(i, k), known), own_(x), k_(k) {
      if (k < x.chunks(i)) x.unknown_of(i, k).origin = x.filtered_mean(x.series.begin(i) + this->from_);
    }

    const information_smoother& own_;
    std::int64_t k_;
  };
};

/// The second part: takes the steps that information_smoother leaves.
template <state_space_model Model>
struct equations_smoother : smoother_traversal<Model> {
  using base = smoother_traversal<Model>;
  using base::n;
  using typename base::T, typename base::number, typename base::state;

  std::int64_t window;

  KALSCAN_HD explicit equations_smoother(const information_smoother<Model>& x, std::int64_t steps = steps_from_start)
      : base{x.model, x.series, x.y, x.mean, x.spread, x.out, x.chunk, x.directions}, window(steps) {}

  /// The equations of later data at the last of the unknown steps of chunk k, made of the information of the later data
  /// there. If that is too close to singular, they begin later in time and are taken back step by step: from the
  /// information `window` steps later, or 2, 4, 8 times as far, the first that is regular enough; at 16 times as far it
  /// is taken in any case. Where fewer than as many steps again would be left, they begin at the end of the series.
  /// before(k) returns the information that chunk k begins with.
  template <class Before>
  KALSCAN_HD state equations_at(const information_smoother<Model>& x, std::int64_t i, std::int64_t k,
                                Before before) const {
    const auto& own = x.unknown_of(i, k);
    if (makes_equations(own.later.J)) return equations_of<number>(own.later);
    // Information of few steps may be singular, and its rounding would be taken for equations.
    std::int64_t from = 0;
    state later{};
    for (std::int64_t chunks = (window + x.chunk - 1) / x.chunk, most = 16 * chunks; k > 2 * chunks; chunks *= 2) {
      const auto information = before(k - chunks);
      if (chunks < most && !makes_equations(information.J)) continue;
      from = k - chunks;
      later = equations_of<number>(information);
      break;
    }
    // States are counted from smoothed means where these are written already: if that is where the filter's were, they
    // are all there is, and results elsewhere are to have the same bits.
    const std::int64_t end = x.series.length(i) - 1, last = end - from * x.chunk;
    return base::before_steps(i, own.last, last, later, [&](std::int64_t t) {
      if (t == last) return x.unknown_of(i, from).origin;
      const bool smoothed = !x.out.mean.empty() && t > x.unknown_of(i, (end - t) / x.chunk).last;
      return read_matrix<small_vector<T, n>>((smoothed ? x.out.mean.data() : x.mean) + (x.series.begin(i) + t) * n);
    });
  }

  struct replay_type : base::replay_type {
    KALSCAN_HD replay_type(const equations_smoother& x, std::int64_t i, std::int64_t k, std::int64_t last,
                           const state& later)
        : base::replay_type(x, i, k, later) {
      this->from_ = last;
    }
  };
};

}  // namespace kalscan::detail
