// SPDX-License-Identifier: MIT
// Gradients of a mixer's inputs in one task: written to the caller's array where no other task has a share in them;
// else summed over the lanes and steps of the task, for gradient_parts.hpp to add up over the tasks.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <kalscan/mixer/call.hpp>
#include <kalscan/mixer/host/gradient_parts.hpp>
#include <kalscan/mixer/host/tile.hpp>
#include <kalscan/mixer/mixer.hpp>
#include <kalscan/mixer/tensor.hpp>
#include <kalscan/support/aggregate.hpp>
#include <kalscan/support/aligned_vector.hpp>

namespace kalscan::detail {

/// The sums of one task, tile by tile.
template <class Call>
class gradient_sums {
 public:
  using M = typename Call::mixer;
  using T = typename Call::number;
  using stage = tile_stage<Call>;
  static constexpr std::size_t inputs = M::inputs_info.size();
  static constexpr std::int64_t W = line_width<T>;

  /// The arrays to which a tile's loops write gradients: [step][channel] for an input of channels, [step][state][channel] for
  /// one of states and for a parameter that varies with time; for one that does not, [state][channel], to which they add.
  struct places {
    std::array<T*, inputs> field;
  };

  gradient_sums(const Call& call, gradient_parts<Call>& parts, std::int64_t strip, std::int64_t first_line,
                std::int64_t lines)
      : call_(call),
        parts_(parts),
        strip_(strip),
        first_line_(first_line),
        lines_(lines),
        varying_(parameters_vary(call)) {
    const std::int64_t S = call.shape.states;
    for (std::size_t i = 0; i < inputs; ++i) {
      const role r = M::inputs_info[i].varies;
      const bool over_time = r == role::parameter && !varying_;
      lanes_[i].resize(
          static_cast<std::size_t>(r == role::channel ? tile_steps * W : (over_time ? lines : tile_steps) * S * W));
      if (r == role::parameter && varying_) {
        shared_[i].resize(static_cast<std::size_t>(parts.how(i) == gathering::over_time       ? lines * S * W
                                                   : parts.how(i) == gathering::over_channels ? tile_steps * S
                                                                                              : 0));
      }
    }
  }

  places tile(std::int64_t g) {
    places x;
    for (std::size_t i = 0; i < inputs; ++i) {
      const bool over_time = M::inputs_info[i].varies == role::parameter && !varying_;
      x.field[i] = lanes_[i].data() + (over_time ? g * call_.shape.states * W : 0);
    }
    return x;
  }

  /// Takes what line g of the task has put there for steps [t, t + steps).
  void add_line(const sequence_range& at, const stage& where, std::int64_t t, std::int64_t steps, std::int64_t g) {
    std::size_t i = 0;
    for_each_member(call_.in_bar, [&](const auto& to) {
      const role r = M::inputs_info[i].varies;
      if (r == role::channel && to.present()) {
        for (std::int64_t k = 0; k < steps; ++k) {
          put_row(to, at, t + k, where.channel(g), 0, where.width(g), lanes_[i].data() + k * W);
        }
      } else if (r == role::parameter && varying_) {
        if (parts_.how(i) == gathering::direct) {
          if (to.present()) put_parameter(i, to, at, t, steps, where.channel(g), where.width(g));
        } else {
          share_parameter(i, steps, g, where.width(g));
        }
      }
      ++i;
    });
  }

  /// To be called when all lines are done with steps [t, t + steps).
  void finish_tile(const sequence_range& at, std::int64_t t, std::int64_t steps) {
    const std::int64_t S = call_.shape.states;
    for (std::size_t i = 0; i < inputs; ++i) {
      if (parts_.how(i) != gathering::over_channels) continue;
      T* to = parts_.over_channels(i, strip_, at.batch, at.first + t);
      if (M::inputs_info[i].varies == role::state) {
        for (std::int64_t k = 0; k < steps * S; ++k) to[k] = sum_of_lanes(lanes_[i].data() + k * W);
        std::fill(lanes_[i].begin(), lanes_[i].end(), T(0));
      } else {
        std::copy_n(shared_[i].data(), steps * S, to);
        std::fill(shared_[i].begin(), shared_[i].end(), T(0));
      }
    }
  }

  /// To be called when all steps of the slot are done.
  void finish(std::int64_t slot) {
    for (std::size_t i = 0; i < inputs; ++i) {
      if (parts_.how(i) != gathering::over_time) continue;
      auto& sums = varying_ ? shared_[i] : lanes_[i];
      std::copy_n(sums.data(), lines_ * call_.shape.states * W, parts_.over_time(i, slot, first_line_));
      std::fill(sums.begin(), sums.end(), T(0));
    }
  }

 private:
  /// Pairwise, so that the order is fixed and vectors can do it.
  static T sum_of_lanes(const T* lanes) {
    T x[std::size_t{W}];
    std::copy_n(lanes, W, x);
    for (std::int64_t half = W / 2; half > 0; half /= 2) {
      for (std::int64_t w = 0; w < half; ++w) x[w] += x[w + half];
    }
    return x[0];
  }

  template <class E>
  void put_row(const tensor<E>& to, const sequence_range& at, std::int64_t t, std::int64_t m, std::int64_t s,
               std::int64_t n, const T* from) {
    E* first = to.at(at.batch, at.first + t, m, s);
    for (std::int64_t w = 0; w < n; ++w)
      gradient_sum<T>::put(first[w * to.stride[2]], from[w], call_.states.accumulate);
  }

  template <class E>
  void put_parameter(std::size_t i, const tensor<E>& to, const sequence_range& at, std::int64_t t, std::int64_t steps,
                     std::int64_t m, std::int64_t n) {
    const std::int64_t S = call_.shape.states;
    for (std::int64_t k = 0; k < steps; ++k) {
      T* x = lanes_[i].data() + k * S * W;
      if (to.extent[3] == S) {
        for (std::int64_t s = 0; s < S; ++s) put_row(to, at, t + k, m, s, n, x + s * W);
      } else {
        for (std::int64_t j = W; j < S * W; ++j) x[j % W] += x[j];
        put_row(to, at, t + k, m, 0, n, x);
      }
    }
  }

  void share_parameter(std::size_t i, std::int64_t steps, std::int64_t g, std::int64_t n) {
    const std::int64_t S = call_.shape.states;
    for (std::int64_t j = 0; j < steps * S; ++j) {
      const T* x = lanes_[i].data() + j * W;
      if (parts_.how(i) == gathering::over_time) {
        for (std::int64_t w = 0; w < W; ++w) shared_[i][static_cast<std::size_t>((g * S + j % S) * W + w)] += x[w];
      } else {
        for (std::int64_t w = 0; w < n; ++w) shared_[i][static_cast<std::size_t>(j)] += x[w];
      }
    }
  }

  const Call& call_;
  gradient_parts<Call>& parts_;
  std::int64_t strip_, first_line_, lines_;
  bool varying_;  // parameters, with time
  std::array<aligned_vector<T>, inputs> lanes_{}, shared_{};
};

}  // namespace kalscan::detail
