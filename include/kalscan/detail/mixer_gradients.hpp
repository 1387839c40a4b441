// SPDX-License-Identifier: MIT
// Gradients of a mixer's inputs: each value goes to its place, and what several lanes, batches or times share is summed
// in an order that depends on the shape alone.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <kalscan/detail/aligned_vector.hpp>
#include <kalscan/detail/fields.hpp>
#include <kalscan/detail/mixer_check.hpp>
#include <kalscan/detail/mixer_plan.hpp>
#include <kalscan/detail/mixer_tile.hpp>
#include <kalscan/detail/words.hpp>
#include <kalscan/kla/mixer.hpp>
#include <kalscan/kla/tensor.hpp>
#include <vector>

namespace kalscan::detail {

/// Sums for one gradient, dense and of the gradient's extents; an axis of extent 1 is summed over.
template <class T>
class gradient_sum {
 public:
  explicit gradient_sum(const std::array<std::int64_t, 4>& extent)
      : sum_(static_cast<std::size_t>(extent[0] * extent[1] * extent[2] * extent[3])),
        view_(sum_.data(), extent[0], extent[1], extent[2], extent[3]) {}
  T& operator()(std::int64_t b, std::int64_t t, std::int64_t m, std::int64_t s) { return view_(b, t, m, s); }

  /// Into the caller's array, over or on top of what it holds.
  template <class E>
  void write(const tensor<E>& to, bool add) const {
    if (!to.present()) return;
    const auto& e = view_.extent;
    for (std::int64_t b = 0; b < e[0]; ++b) {
      for (std::int64_t t = 0; t < e[1]; ++t) {
        for (std::int64_t m = 0; m < e[2]; ++m) {
          for (std::int64_t s = 0; s < e[3]; ++s) put(to(b, t, m, s), view_(b, t, m, s), add);
        }
      }
    }
  }

  template <class E>
  static void put(E& to, T x, bool add) {
    to = static_cast<E>(add ? static_cast<T>(to) + x : x);
  }

 private:
  aligned_vector<T> sum_;
  tensor<T> view_;
};

/// How the gradient of an input comes about.
enum class gathering {
  direct,      // each lane's channel, perhaps summed over states, has a place of its own
  over_lanes,  // shared by the channels: summed over lanes, then over blocks, then over groups of blocks
  over_time    // shared by all times
};

/// The partial sums of all tasks.
template <class Job>
class gradient_parts {
 public:
  using M = typename Job::mixer;
  using T = typename Job::number;
  static constexpr std::size_t inputs = M::inputs_info.size();
  static constexpr std::int64_t W = block_width<T>;

  gradient_parts(const Job& job, const mixer_plan& plan, std::int64_t group)
      : job_(job), plan_(plan), groups_((plan.blocks + group - 1) / group) {
    const mixer_shape& s = job.shape;
    std::size_t i = 0;
    for_each_member(job.in, [&](const auto& x) {
      how_[i] = M::inputs_info[i].varies == role::channel ? gathering::direct
                : M::inputs_info[i].varies == role::state ? gathering::over_lanes
                : x.extent[1] == 1                        ? gathering::over_time
                : x.extent[2] == 1                        ? gathering::over_lanes
                                                          : gathering::direct;
      const std::int64_t size = how_[i] == gathering::over_lanes  ? groups_ * s.batch * s.time * s.states
                                : how_[i] == gathering::over_time ? slots() * plan.blocks * s.states * W
                                                                  : 0;
      part_[i].resize(static_cast<std::size_t>(size));
      ++i;
    });
  }

  gathering how(std::size_t i) const { return how_[i]; }
  /// [step][state] of the sums over the lanes of a group, from time t of batch b on.
  T* over_lanes(std::size_t i, std::int64_t group, std::int64_t b, std::int64_t t) {
    return part_[i].data() + ((group * job_.shape.batch + b) * job_.shape.time + t) * job_.shape.states;
  }
  /// [state][lane] of the sums over the times of a slot.
  T* over_time(std::size_t i, std::int64_t slot, std::int64_t block) {
    return part_[i].data() + (slot * plan_.blocks + block) * job_.shape.states * W;
  }

  /// Sums the parts, in the order of groups and of slots, into the caller's arrays.
  void write() {
    std::array<std::array<std::int64_t, 4>, inputs> extent;
    std::size_t i = 0;
    for_each_member(job_.in, [&](const auto& x) { extent[i++] = x.extent; });
    i = 0;
    for_each_member(job_.in_bar, [&](const auto& to) {
      if (to.present() && how_[i] == gathering::over_lanes) write_over_lanes(i, extent[i], to);
      if (to.present() && how_[i] == gathering::over_time) write_over_time(i, extent[i], to);
      ++i;
    });
  }

 private:
  std::int64_t slots() const { return std::ssize(plan_.whole) + plan_.slots; }

  template <class E>
  void write_over_lanes(std::size_t i, const std::array<std::int64_t, 4>& extent, const tensor<E>& to) {
    const mixer_shape& s = job_.shape;
    aligned_vector<T> sum(static_cast<std::size_t>(s.states));
    for (std::int64_t b = 0; b < s.batch; ++b) {
      for (std::int64_t t = 0; t < s.time; ++t) {
        std::fill(sum.begin(), sum.end(), T(0));
        for (std::int64_t g = 0; g < groups_; ++g) {
          const T* part = over_lanes(i, g, b, t);
          for (std::size_t k = 0; k < sum.size(); ++k) sum[k] += part[k];
        }
        if (extent[3] == 1) {
          for (std::size_t k = 1; k < sum.size(); ++k) sum[0] += sum[k];
        }
        for (std::int64_t k = 0; k < extent[3]; ++k) {
          gradient_sum<T>::put(to(b, t, 0, k), sum[static_cast<std::size_t>(k)], job_.states.accumulate);
        }
      }
    }
  }

  template <class E>
  void write_over_time(std::size_t i, const std::array<std::int64_t, 4>& extent, const tensor<E>& to) {
    gradient_sum<T> sum(extent);
    const auto add = [&](std::int64_t slot, std::int64_t b) {
      for (std::int64_t s = 0; s < job_.shape.states; ++s) {
        for (std::int64_t m = 0; m < job_.shape.channels; ++m)
          sum(b, 0, m, s) += over_time(i, slot, m / W)[s * W + m % W];
      }
    };
    std::int64_t slot = 0;
    for (const auto& range : plan_.whole) add(slot++, job_.sequence_at(range.first).batch);
    for (const auto& split : plan_.split) {
      for (std::int64_t k = 0; k < split.chunks(); ++k) add(slot++, job_.sequence_at(split.n).batch);
    }
    sum.write(to, job_.states.accumulate);
  }

  const Job& job_;
  const mixer_plan& plan_;
  std::int64_t groups_;
  std::array<gathering, inputs> how_{};
  std::array<aligned_vector<T>, inputs> part_{};
};

/// The sums of one task, tile by tile.
template <class Job, bool Varying>
class gradient_sums {
 public:
  using M = typename Job::mixer;
  using T = typename Job::number;
  using stage = tile_stage<Job, Varying>;
  static constexpr std::size_t inputs = M::inputs_info.size();
  static constexpr std::int64_t W = block_width<T>;

  /// Where a tile's loops put the gradients: of a channel [step][lane], of a state [step][state][lane] and of a
  /// parameter [state][lane], to be added to; of a parameter in a tile whose parameters vary, [step][state][lane].
  struct places {
    std::array<T*, inputs> field;
  };

  gradient_sums(const Job& job, gradient_parts<Job>& parts, std::int64_t group, std::int64_t first_block,
                std::int64_t blocks)
      : job_(job), parts_(parts), group_(group), first_block_(first_block), blocks_(blocks) {
    const std::int64_t S = job.shape.states;
    for (std::size_t i = 0; i < inputs; ++i) {
      const role r = M::inputs_info[i].varies;
      const bool kept = r == role::parameter && !Varying;
      lanes_[i].resize(
          static_cast<std::size_t>(r == role::channel ? tile_steps * W : (kept ? blocks : tile_steps) * S * W));
      if (r == role::parameter && Varying) {
        shared_[i].resize(static_cast<std::size_t>(parts.how(i) == gathering::over_time    ? blocks * S * W
                                                   : parts.how(i) == gathering::over_lanes ? tile_steps * S
                                                                                           : 0));
      }
    }
  }

  places tile(std::int64_t g) {
    places x;
    for (std::size_t i = 0; i < inputs; ++i) {
      const bool kept = M::inputs_info[i].varies == role::parameter && !Varying;
      x.field[i] = lanes_[i].data() + (kept ? g * job_.shape.states * W : 0);
    }
    return x;
  }

  /// What block g of the task has put there for steps [t, t + steps).
  void add_block(const sequence_place& at, const stage& where, std::int64_t t, std::int64_t steps, std::int64_t g) {
    std::size_t i = 0;
    for_each_member(job_.in_bar, [&](const auto& to) {
      const role r = M::inputs_info[i].varies;
      if (r == role::channel && to.present()) {
        for (std::int64_t k = 0; k < steps; ++k) {
          put_row(to, at, t + k, where.channel(g), 0, where.width(g), lanes_[i].data() + k * W);
        }
      } else if (r == role::parameter && Varying) {
        if (parts_.how(i) == gathering::direct) {
          if (to.present()) put_parameter(i, to, at, t, steps, where.channel(g), where.width(g));
        } else {
          share_parameter(i, steps, g, where.width(g));
        }
      }
      ++i;
    });
  }

  /// All blocks are through with steps [t, t + steps).
  void finish_tile(const sequence_place& at, std::int64_t t, std::int64_t steps) {
    const std::int64_t S = job_.shape.states;
    for (std::size_t i = 0; i < inputs; ++i) {
      if (parts_.how(i) != gathering::over_lanes) continue;
      T* to = parts_.over_lanes(i, group_, at.batch, at.first + t);
      if (M::inputs_info[i].varies == role::state) {
        for (std::int64_t k = 0; k < steps * S; ++k) to[k] = sum_of_lanes(lanes_[i].data() + k * W);
        std::fill(lanes_[i].begin(), lanes_[i].end(), T(0));
      } else {
        std::copy_n(shared_[i].data(), steps * S, to);
        std::fill(shared_[i].begin(), shared_[i].end(), T(0));
      }
    }
  }

  /// All steps of the slot are done.
  void finish(std::int64_t slot) {
    for (std::size_t i = 0; i < inputs; ++i) {
      if (parts_.how(i) != gathering::over_time) continue;
      auto& sums = Varying ? shared_[i] : lanes_[i];
      std::copy_n(sums.data(), blocks_ * job_.shape.states * W, parts_.over_time(i, slot, first_block_));
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
  void put_row(const tensor<E>& to, const sequence_place& at, std::int64_t t, std::int64_t m, std::int64_t s,
               std::int64_t n, const T* from) {
    E* first = to.at(at.batch, at.first + t, m, s);
    for (std::int64_t w = 0; w < n; ++w) gradient_sum<T>::put(first[w * to.stride[2]], from[w], job_.states.accumulate);
  }

  template <class E>
  void put_parameter(std::size_t i, const tensor<E>& to, const sequence_place& at, std::int64_t t, std::int64_t steps,
                     std::int64_t m, std::int64_t n) {
    const std::int64_t S = job_.shape.states;
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
    const std::int64_t S = job_.shape.states;
    for (std::int64_t j = 0; j < steps * S; ++j) {
      const T* x = lanes_[i].data() + j * W;
      if (parts_.how(i) == gathering::over_time) {
        for (std::int64_t w = 0; w < W; ++w) shared_[i][static_cast<std::size_t>((g * S + j % S) * W + w)] += x[w];
      } else {
        for (std::int64_t w = 0; w < n; ++w) shared_[i][static_cast<std::size_t>(j)] += x[w];
      }
    }
  }

  const Job& job_;
  gradient_parts<Job>& parts_;
  std::int64_t group_, first_block_, blocks_;
  std::array<aligned_vector<T>, inputs> lanes_{}, shared_{};
};

}  // namespace kalscan::detail
