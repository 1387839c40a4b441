// SPDX-License-Identifier: MIT
// Gradients of a mixer's inputs that several lanes, batches or times share: partial sums, one for each task, and their
// sum in an order that depends on the plan (plan.hpp) alone, not on the number of threads.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <kalscan/mixer/call.hpp>
#include <kalscan/mixer/host/plan.hpp>
#include <kalscan/mixer/host/tile.hpp>
#include <kalscan/mixer/mixer.hpp>
#include <kalscan/mixer/tensor.hpp>
#include <kalscan/support/aggregate.hpp>
#include <kalscan/support/aligned_vector.hpp>
#include <vector>

namespace kalscan::detail {

/// Sums for one gradient, dense and of the gradient's extents; an axis of extent 1 is summed over.
template <class T>
class gradient_sum {
 public:
  explicit gradient_sum(const extents& extent)
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

/// How the host's tasks hand on the gradient of an input.
enum class gathering {
  direct,         // each lane's channel, perhaps summed over states, has a place of its own
  over_channels,  // shared by the channels: summed over those of a line, then over lines, then over strips
  over_time       // shared by all times
};

/// The partial sums of all tasks.
template <class Call>
class gradient_parts {
 public:
  using M = typename Call::mixer;
  using T = typename Call::number;
  static constexpr std::size_t inputs = M::inputs_info.size();
  static constexpr std::int64_t W = line_width<T>;

  gradient_parts(const Call& call, const mixer_plan& plan, std::int64_t strip)
      : call_(call), plan_(plan), strips_((plan.lines + strip - 1) / strip) {
    const mixer_shape& s = call.shape;
    std::size_t i = 0;
    for_each_member(call.in, [&](const auto& x) {
      how_[i] = M::inputs_info[i].varies == role::channel ? gathering::direct
                : M::inputs_info[i].varies == role::state ? gathering::over_channels
                : x.extent[1] == 1                        ? gathering::over_time
                : x.extent[2] == 1                        ? gathering::over_channels
                                                          : gathering::direct;
      const std::int64_t size = how_[i] == gathering::over_channels ? strips_ * s.batch * s.time * s.states
                                : how_[i] == gathering::over_time   ? slots() * plan.lines * s.states * W
                                                                    : 0;
      part_[i].resize(static_cast<std::size_t>(size));
      ++i;
    });
  }

  gathering how(std::size_t i) const { return how_[i]; }
  /// [step][state] of the sums over the channels of a strip, from time t of batch b on.
  T* over_channels(std::size_t i, std::int64_t strip, std::int64_t b, std::int64_t t) {
    return part_[i].data() + ((strip * call_.shape.batch + b) * call_.shape.time + t) * call_.shape.states;
  }
  /// [state][lane] of the sums over the times of a slot.
  T* over_time(std::size_t i, std::int64_t slot, std::int64_t line) {
    return part_[i].data() + (slot * plan_.lines + line) * call_.shape.states * W;
  }

  /// The sums over the times of a slot, in batch b.
  struct slot_sums {
    const T* sums;
    std::int64_t batch;
  };
  /// Those of input i, in the order in which they are added.
  std::vector<slot_sums> all_slots(std::size_t i) {
    std::vector<slot_sums> all;
    for_each_slot([&](std::int64_t slot, std::int64_t n) {
      all.push_back({over_time(i, slot, 0), call_.sequence_at(n).batch});
    });
    return all;
  }
  /// Calls f(slot, its first sequence).
  template <class F>
  void for_each_slot(F f) const {
    std::int64_t slot = 0;
    for (const auto& range : plan_.whole) f(slot++, range.first);
    for (const auto& split : plan_.split) {
      for (std::int64_t k = 0; k < split.chunks(); ++k) f(slot++, split.n);
    }
  }
  std::int64_t slot_length() const { return plan_.lines * call_.shape.states * W; }

  /// Sums the parts, in the order of strips and of all_slots(i), into the caller's arrays.
  void write() {
    write([&](std::size_t i) { return all_slots(i); });
  }
  template <class Slots>
  void write(Slots slots) {
    std::array<extents, inputs> extent;
    std::size_t i = 0;
    for_each_member(call_.in, [&](const auto& x) { extent[i++] = x.extent; });
    i = 0;
    for_each_member(call_.in_bar, [&](const auto& to) {
      if (to.present() && how_[i] == gathering::over_channels) write_over_channels(i, extent[i], to);
      if (how_[i] == gathering::over_time) {
        const std::vector<slot_sums> all = slots(i);
        if (to.present()) write_over_time(all, extent[i], to);
      }
      ++i;
    });
  }

 private:
  std::int64_t slots() const { return std::ssize(plan_.whole) + plan_.slots; }

  template <class E>
  void write_over_channels(std::size_t i, const extents& extent, const tensor<E>& to) {
    const mixer_shape& s = call_.shape;
    aligned_vector<T> sum(static_cast<std::size_t>(s.states));
    for (std::int64_t b = 0; b < s.batch; ++b) {
      for (std::int64_t t = 0; t < s.time; ++t) {
        std::fill(sum.begin(), sum.end(), T(0));
        for (std::int64_t g = 0; g < strips_; ++g) {
          const T* part = over_channels(i, g, b, t);
          for (std::size_t k = 0; k < sum.size(); ++k) sum[k] += part[k];
        }
        if (extent[3] == 1) {
          for (std::size_t k = 1; k < sum.size(); ++k) sum[0] += sum[k];
        }
        for (std::int64_t k = 0; k < extent[3]; ++k) {
          gradient_sum<T>::put(to(b, t, 0, k), sum[static_cast<std::size_t>(k)], call_.states.accumulate);
        }
      }
    }
  }

  template <class E>
  void write_over_time(const std::vector<slot_sums>& slots, const extents& extent,
                       const tensor<E>& to) {
    gradient_sum<T> sum(extent);
    const std::int64_t S = call_.shape.states;
    for (const slot_sums& slot : slots) {
      for (std::int64_t s = 0; s < S; ++s) {
        for (std::int64_t m = 0; m < call_.shape.channels; ++m)
          sum(slot.batch, 0, m, s) += slot.sums[(m / W * S + s) * W + m % W];
      }
    }
    sum.write(to, call_.states.accumulate);
  }

  const Call& call_;
  const mixer_plan& plan_;
  std::int64_t strips_;
  std::array<gathering, inputs> how_{};
  std::array<aligned_vector<T>, inputs> part_{};
};

}  // namespace kalscan::detail
