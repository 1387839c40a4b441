// SPDX-License-Identifier: MIT
// The adjoint of a mixer on several threads: states again from checkpoints, a tile at a time, then the steps backwards.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <kalscan/backend/omp.hpp>
#include <kalscan/detail/aligned_vector.hpp>
#include <kalscan/detail/fields.hpp>
#include <kalscan/detail/mixer_check.hpp>
#include <kalscan/detail/mixer_gradients.hpp>
#include <kalscan/detail/mixer_omp_forward.hpp>
#include <kalscan/detail/mixer_plan.hpp>
#include <kalscan/detail/mixer_seq.hpp>
#include <kalscan/detail/mixer_tile.hpp>
#include <kalscan/detail/words.hpp>
#include <kalscan/kla/mixer.hpp>
#include <vector>

#include <kalscan/detail/lanes_begin.hpp>

namespace kalscan::detail {

/// Some blocks of channels of a job, walked backwards through time by one thread.
template <class Job, bool Varying>
class backward_walk {
 public:
  using M = typename Job::mixer;
  using T = typename Job::number;
  using state = typename M::template state<T>;
  using outputs = typename M::template outputs<T>;
  using inputs = typename M::template inputs<T>;
  using state_words = lane_words<state, T>;
  static constexpr std::int64_t W = block_width<T>;
  static constexpr std::size_t output_count = word_count<outputs, T>;

  backward_walk(const Job& job, gradient_parts<Job>& parts, std::int64_t group, std::int64_t first_block,
                std::int64_t last_block)
      : job_(job),
        stage_(job, first_block, last_block - first_block),
        sums_(job, parts, group, first_block, last_block - first_block),
        blocks_(last_block - first_block),
        length_(state_words::length(job.shape.states)) {
    const std::int64_t stretch = (std::min)(job.states.every, std::max<std::int64_t>(job.shape.time, 1));
    const std::int64_t tiles = (stretch + tile_steps - 1) / tile_steps;
    starts_.resize(static_cast<std::size_t>(tiles * blocks_ * length_));
    tape_.resize(static_cast<std::size_t>((tile_steps + 1) * length_));
    saved_.resize(static_cast<std::size_t>(length_));
    out_bar_.resize(output_count * static_cast<std::size_t>(tile_steps * W));
  }

  aligned_vector<T> no_states() const { return aligned_vector<T>(static_cast<std::size_t>(blocks_ * length_)); }

  /// The numbers of the final states' adjoints as they are given; the sweep of the last steps takes them from there.
  void load_final(std::int64_t n, T* bars) {
    const auto final = tensors_of<const T>(job_.states.final_bar);
    for (std::int64_t g = 0; g < blocks_; ++g) {
      const state_words x{bars + g * length_};
      for_each_lane<T>(job_.shape.states, [&](std::int64_t s, std::int64_t w) {
        x.set(s, w, from_words<state, T>([&](auto i) {
                return final[i].present() && w < stage_.width(g) ? final[i](n, 0, stage_.channel(g) + w, s) : T(0);
              }));
      });
    }
  }
  void store_initial(std::int64_t n, T* bars) {
    for (std::int64_t g = 0; g < blocks_; ++g) {
      if (job_.sequence_at(n).length == 0) through_no_steps(n, g, bars + g * length_);
      store_block(job_.states.initial_bar, n, 0, bars + g * length_, job_.shape.states, stage_.channel(g),
                  stage_.width(g), job_.states.accumulate);
    }
  }

  /// Steps to - 1, ..., from of sequence n: changes the adjoints of the states and writes or sums those of the inputs.
  void sweep(std::int64_t n, std::int64_t from, std::int64_t to, T* bars) {
    const sequence_place at = job_.sequence_at(n);
    each_tile(
        n, from, to,
        [&](std::int64_t t, std::int64_t steps, std::int64_t g) {
          T* bar = bars + g * length_;
          if (t + steps == at.length) take_final(steps, bar);
          adjoint_tile(steps, g, bar);
          if (t == 0) give_initial(0, bar);
          sums_.add_block(at, stage_, t, steps, g);
        },
        [&](std::int64_t t, std::int64_t steps) { sums_.finish_tile(at, t, steps); });
  }
  /// The same steps inside a sequence, changing the adjoints of the states alone.
  void advance(std::int64_t n, std::int64_t from, std::int64_t to, T* bars) {
    each_tile(
        n, from, to, [&](std::int64_t, std::int64_t steps, std::int64_t g) { bar_tile(steps, g, bars + g * length_); },
        [](std::int64_t, std::int64_t) {});
  }
  /// Makes the sums over time that this walk holds the parts of `slot`.
  void finish(std::int64_t slot) { sums_.finish(slot); }

  /// Steps [from, to) of sequence n as elements of the adjoint, one for each lane.
  void absorb(std::int64_t n, std::int64_t from, std::int64_t to, T* elements) requires mixer_with_adjoint_elements<M> {
    using element = element_t<decltype(M::template adjoint_monoid<T>())>;
    using element_words = lane_words<element, T>;
    const std::int64_t S = job_.shape.states, length = element_words::length(S);
    const auto combine = M::template adjoint_monoid<T>();
    for (std::int64_t g = 0; g < blocks_; ++g) {
      const element_words x{elements + g * length};
      for_each_lane<T>(S, [&](std::int64_t s, std::int64_t w) { x.set(s, w, combine.identity()); });
    }
    each_tile(
        n, from, to,
        [&](std::int64_t, std::int64_t steps, std::int64_t g) {
          absorb_steps(steps, g, element_words{elements + g * length});
        },
        [](std::int64_t, std::int64_t) {});
  }

 private:
  /// The states before each step of the tape.
  state_words on_tape(std::int64_t t) { return {tape_.data() + t * length_}; }

  /// From the numbers that are given of the final states' adjoints to what is carried, and from that to those that are
  /// wanted of the initial ones'. `at` is the place of the states on the tape.
  void take_final(std::int64_t at, T* bar) {
    if constexpr (has_forms<decltype(job_.states.final_bar)>) {
      if (tape_is_ordinary_ && !job_.states.final_bar.information_form) return;
      const state_words x{bar}, states = on_tape(at);
      for_each_lane<T>(job_.shape.states, [&](std::int64_t s, std::int64_t w) {
        x.set(s, w, adjoint_of(job_.states.final_bar, states(s, w), x(s, w)));
      });
    }
  }
  void give_initial(std::int64_t at, T* bar) {
    if constexpr (has_forms<decltype(job_.states.initial_bar)>) {
      if (tape_is_ordinary_ && !job_.states.initial_bar.information_form) return;
      const state_words x{bar}, states = on_tape(at);
      for_each_lane<T>(job_.shape.states, [&](std::int64_t s, std::int64_t w) {
        x.set(s, w, numbers_of_adjoint(job_.states.initial_bar, states(s, w), x(s, w)));
      });
    }
  }
  /// The same where no step lies between.
  void through_no_steps(std::int64_t n, std::int64_t g, T* bar) {
    load_block<M>(tape_.data(), job_.shape.states, stage_.channel(g), stage_.width(g),
                  [&](std::int64_t m, std::int64_t s) { return job_.states.initial(n, m, s); });
    tape_is_ordinary_ = false;
    take_final(0, bar);
    give_initial(0, bar);
  }
  template <class Elements>
  void absorb_steps(std::int64_t steps, std::int64_t g, const Elements& x) {
    if constexpr (requires { typename M::ordinary; }) {
      if (tape_is_ordinary_) return absorb_steps_by<typename M::ordinary>(steps, g, x);
    }
    absorb_steps_by<M>(steps, g, x);
  }
  template <class Lane, class Elements>
  KALSCAN_FLATTEN void absorb_steps_by(std::int64_t steps, std::int64_t g, const Elements x) {
    const auto combine = M::template adjoint_monoid<T>();
    const auto u = stage_.terms(g);
    const T* y_bar = out_bar_.data();
    for (std::int64_t t = steps - 1; t >= 0; --t) {
      const state_words before = on_tape(t), after = on_tape(t + 1);
      for (std::int64_t s = 0; s < u.states; ++s) {
        KALSCAN_LANES
        for (std::int64_t w = 0; w < W; ++w) {
          const auto y = from_words<outputs, T>(
              [&](auto i) { return y_bar[(static_cast<std::int64_t>(i()) * tile_steps + t) * W + w]; });
          x.set(s, w, combine(Lane::adjoint_lift(before(s, w), u(t, s, w), after(s, w), y), x(s, w)));
        }
      }
    }
  }

  /// From the end to the beginning: tiles of steps [t, t + steps), each with the states on the tape. Calls call(t, steps,
  /// g) block by block, then done(t, steps).
  template <class Call, class Done>
  void each_tile(std::int64_t n, std::int64_t from, std::int64_t to, Call call, Done done) {
    const std::int64_t every = job_.states.every;
    const sequence_place at = job_.sequence_at(n);
    stage_.start_batch(at.batch);
    for (std::int64_t end = to; end > from;) {
      const std::int64_t begin = (std::max)(from, (end - 1) / every * every);  // from is a multiple of every
      start_tiles(n, begin, end);
      for (std::int64_t tile = (end - begin - 1) / tile_steps; tile >= 0; --tile) {
        const std::int64_t t = begin + tile * tile_steps, steps = (std::min)(tile_steps, end - t);
        stage_.stage_states(at.batch, at.first + t, steps);
        for (std::int64_t g = 0; g < blocks_; ++g) {
          stage_.stage_block(at.batch, at.first + t, steps, g);
          stage_out_bar(at.batch, at.first + t, steps, g);
          std::copy_n(start_of(tile, g), length_, tape_.data());
          tape_is_ordinary_ = is_ordinary<M, true>(tape_.data(), job_.shape.states);
          advance_block<false, M>(stage_.terms(g), steps, tape_.data(), length_, static_cast<T*>(nullptr),
                                  saved_.data(), tape_is_ordinary_);
          if constexpr (requires { typename M::ordinary; }) {
            if (!tape_is_ordinary_ && t + steps < at.length) take_stored_end(n, t + steps, tile + 1, end, g, steps);
          }
          call(t, steps, g);
        }
        done(t, steps);
      }
      end = begin;
    }
  }

  /// In place of the last states on the tape those from which the tile after it started: the form in which an adjoint
  /// is carried between the two depends on them, and states that are computed twice may differ by their rounding.
  void take_stored_end(std::int64_t n, std::int64_t t, std::int64_t next_tile, std::int64_t stretch_end, std::int64_t g,
                       std::int64_t steps) {
    T* to = tape_.data() + steps * length_;
    if (t < stretch_end) {
      std::copy_n(start_of(next_tile, g), length_, to);
    } else {
      load_checkpoint(n, t, g, to);
    }
  }
  void load_checkpoint(std::int64_t n, std::int64_t t, std::int64_t g, T* to) {
    const std::int64_t slot = first_checkpoint(job_.shape, n, job_.states.every) + t / job_.states.every;
    const std::int64_t batch = job_.sequence_at(n).batch;
    const auto kept = words<tensor<const T>>(job_.states.checkpoints);
    load_block<M>(to, job_.shape.states, stage_.channel(g), stage_.width(g), [&](std::int64_t m, std::int64_t s) {
      return from_words<state, T>([&](auto i) { return kept[i](batch, slot, m, s); });
    });
  }

  T* start_of(std::int64_t tile, std::int64_t g) { return starts_.data() + (tile * blocks_ + g) * length_; }

  /// The states before each tile of a stretch that starts at a checkpoint.
  void start_tiles(std::int64_t n, std::int64_t begin, std::int64_t end) {
    const sequence_place at = job_.sequence_at(n);
    for (std::int64_t g = 0; g < blocks_; ++g) load_checkpoint(n, begin, g, start_of(0, g));
    for (std::int64_t tile = 0; begin + (tile + 1) * tile_steps < end; ++tile) {
      const std::int64_t t = at.first + begin + tile * tile_steps;
      stage_.stage_states(at.batch, t, tile_steps);
      for (std::int64_t g = 0; g < blocks_; ++g) {
        stage_.stage_block(at.batch, t, tile_steps, g);
        std::copy_n(start_of(tile, g), length_, start_of(tile + 1, g));
        char ordinary = is_ordinary<M>(start_of(tile, g), job_.shape.states);
        advance_block<false, M>(stage_.terms(g), tile_steps, start_of(tile + 1, g), 0, static_cast<T*>(nullptr),
                                saved_.data(), ordinary);
      }
    }
  }

  void stage_out_bar(std::int64_t b, std::int64_t t0, std::int64_t steps, std::int64_t g) {
    T* to = out_bar_.data();
    for_each_member(job_.out_bar, [&](const auto& y) {
      for (std::int64_t t = 0; t < steps; ++t) {
        if (y.present()) {
          gather_lanes(to + t * W, y.at(b, t0 + t, stage_.channel(g), 0), y.stride[2], stage_.width(g), true);
        } else {
          std::fill_n(to + t * W, W, T(0));
        }
      }
      to += tile_steps * W;
    });
  }

  void adjoint_tile(std::int64_t steps, std::int64_t g, T* bars) {
    if constexpr (requires { typename M::ordinary; }) {
      if (tape_is_ordinary_) return adjoint_steps<typename M::ordinary>(steps, g, bars);
    }
    adjoint_steps<M>(steps, g, bars);
  }

  template <class Lane>
  KALSCAN_FLATTEN void adjoint_steps(std::int64_t steps, std::int64_t g, T* bars) {
    const std::int64_t S = job_.shape.states;
    const auto u = stage_.terms(g);
    const auto sums = sums_.tile(g);
    const state_words bar{bars};
    for (std::int64_t t = steps - 1; t >= 0; --t) {
      const state_words before = on_tape(t), after = on_tape(t + 1);
      T channel[M::inputs_info.size()][std::size_t{W}] = {};
      T y_bar[output_count][std::size_t{W}];
      for (std::size_t i = 0; i < output_count; ++i) {
        std::copy_n(out_bar_.data() + (static_cast<std::int64_t>(i) * tile_steps + t) * W, W, y_bar[i]);
      }
      for (std::int64_t s = 0; s < S; ++s) {
        KALSCAN_LANES
        for (std::int64_t w = 0; w < W; ++w) {
          const auto y = from_words<outputs, T>([&](auto i) { return y_bar[i][w]; });
          const auto back = Lane::adjoint(before(s, w), u(t, s, w), after(s, w), bar(s, w), y);
          bar.set(s, w, back.earlier);
          const auto x = words<T>(back.inputs);
          for_each_index<M::inputs_info.size()>([&](auto i) {
            if constexpr (M::inputs_info[i].varies == role::channel) {
              channel[i][w] += x[i];
            } else if constexpr (M::inputs_info[i].varies == role::state) {
              sums.field[i][(t * S + s) * W + w] += x[i];
            } else if constexpr (Varying) {
              sums.field[i][(t * S + s) * W + w] = x[i];
            } else {
              sums.field[i][s * W + w] += x[i];
            }
          });
        }
      }
      for_each_index<M::inputs_info.size()>([&](auto i) {
        if constexpr (M::inputs_info[i].varies == role::channel) std::copy_n(channel[i], W, sums.field[i] + t * W);
      });
    }
  }

  void bar_tile(std::int64_t steps, std::int64_t g, T* bars) {
    if constexpr (requires { typename M::ordinary; }) {
      if (tape_is_ordinary_) return bar_steps<typename M::ordinary>(steps, g, bars);
    }
    bar_steps<M>(steps, g, bars);
  }

  template <class Lane>
  KALSCAN_FLATTEN void bar_steps(std::int64_t steps, std::int64_t g, T* bars) {
    const auto u = stage_.terms(g);
    const T* y_bar = out_bar_.data();
    const state_words bar{bars};
    for (std::int64_t t = steps - 1; t >= 0; --t) {
      const state_words before = on_tape(t), after = on_tape(t + 1);
      for (std::int64_t s = 0; s < u.states; ++s) {
        KALSCAN_LANES
        for (std::int64_t w = 0; w < W; ++w) {
          const auto y = from_words<outputs, T>(
              [&](auto i) { return y_bar[(static_cast<std::int64_t>(i()) * tile_steps + t) * W + w]; });
          bar.set(s, w, Lane::adjoint(before(s, w), u(t, s, w), after(s, w), bar(s, w), y).earlier);
        }
      }
    }
  }

  const Job& job_;
  tile_stage<Job, Varying> stage_;
  gradient_sums<Job, Varying> sums_;
  std::int64_t blocks_, length_;
  aligned_vector<T> starts_{}, tape_{}, out_bar_{}, saved_{};
  char tape_is_ordinary_ = false;  // all states on it
};

/// The adjoints of a block at the end of each chunk but the last, from those at the beginning of the last one and the
/// elements of the chunks between: the end of chunk k from bars[k + 1] and elements[k + 1]. Where an element is out of
/// range, its lane takes the steps instead: advance(k, bars) takes those of chunk k backwards.
template <class M, class T, class Advance>
void carry_back(std::int64_t chunks, std::int64_t states, std::int64_t bar_stride, T* bars, std::int64_t element_stride,
                T* elements, Advance advance) {
  using element = element_t<decltype(M::template adjoint_monoid<T>())>;
  using state_words = lane_words<typename M::template state<T>, T>;
  const std::int64_t length = state_words::length(states);
  std::copy_n(bars + (chunks - 1) * bar_stride, length, bars + (chunks - 2) * bar_stride);
  for (std::int64_t k = chunks - 3; k >= 0; --k) {
    const state_words later{bars + (k + 1) * bar_stride}, earlier{bars + k * bar_stride};
    const lane_words<element, T> x{elements + (k + 1) * element_stride};
    carry_over<T>(
        states, x, later, earlier, [](const auto& e, const auto& bar) { return M::adjoint_act(e, bar); },
        [&](T* block) { advance(k + 1, block); });
  }
}

#if defined(_OPENMP)

template <bool Varying, class Job>
void backward_on_threads(const omp& policy, const Job& job) {
  using M = typename Job::mixer;
  using T = typename Job::number;
  using walk_type = backward_walk<Job, Varying>;
  const int threads = threads_of(policy);
  const std::int64_t S = job.shape.states;
  const mixer_plan plan = plan_of(policy, job, mixer_with_adjoint_elements<M>, job.states.every);
  // Sums over channels are made group by group: the groups must not depend on the number of threads.
  const std::int64_t group = std::clamp<std::int64_t>(plan.blocks * job.shape.batch / 16, 1, 8);
  const auto whole = std::ssize(plan.whole);
  gradient_parts<Job> parts(job, plan, group);

  parallel_groups(threads, whole, plan.blocks, group, [&](std::int64_t i, std::int64_t g0, std::int64_t g1) {
    walk_type walk(job, parts, g0 / group, g0, g1);
    auto bars = walk.no_states();
    const auto& range = plan.whole[static_cast<std::size_t>(i)];
    for (std::int64_t n = range.first; n < range.last; ++n) {
      walk.load_final(n, bars.data());
      walk.sweep(n, 0, job.sequence_at(n).length, bars.data());
      walk.store_initial(n, bars.data());
    }
    walk.finish(i);
  });
  if constexpr (mixer_with_adjoint_elements<M>) {
    using element = element_t<decltype(M::template adjoint_monoid<T>())>;
    split_passes<T> passes(plan, threads, group, lane_words<typename M::template state<T>, T>::length(S),
                           lane_words<element, T>::length(S));
    const auto make_walk = [&](std::int64_t g0, std::int64_t g1) { return walk_type(job, parts, g0 / group, g0, g1); };
    const auto last = [](const split_sequence& s) { return s.chunks() - 1; };
    const auto sweep = [&](walk_type& walk, const time_chunk& c, T* bars) {
      walk.sweep(c.sequence->n, c.from, c.to, bars);
      if (c.k == 0) walk.store_initial(c.sequence->n, bars);
      walk.finish(whole + c.sequence->slot + c.k);
    };
    passes.run([](const split_sequence&, std::int64_t k) { return k > 0; }, make_walk,
               [&](walk_type& walk, const time_chunk& c, T* bars, T* elements) {
                 if (c.k == last(*c.sequence)) {
                   walk.load_final(c.sequence->n, bars);
                   sweep(walk, c, bars);
                 } else {
                   walk.absorb(c.sequence->n, c.from, c.to, elements);
                 }
               });
    passes.carry([&](const split_sequence& s, std::int64_t g, std::int64_t bar_stride, T* bars,
                     std::int64_t element_stride, T* elements) {
      carry_back<M>(s.chunks(), S, bar_stride, bars, element_stride, elements, [&](std::int64_t k, T* block) {
        const auto i = static_cast<std::size_t>(k);
        make_walk(g, g + 1).advance(s.n, s.bounds[i], s.bounds[i + 1], block);
      });
    });
    passes.run([&](const split_sequence& s, std::int64_t k) { return k < last(s); }, make_walk,
               [&](walk_type& walk, const time_chunk& c, T* bars, T*) { sweep(walk, c, bars); });
  }
  parts.write();
}

template <class Job>
void run_backward(const omp& policy, const Job& job) {
  using M = typename Job::mixer;
  using T = typename Job::number;
  if (job.shape.sequences() == 0 || job.shape.channels == 0 || job.shape.states == 0) return run_backward(seq{}, job);
  if (!words<tensor<const T>>(job.states.checkpoints)[0].present()) {
    // The forward pass once more, for its checkpoints: one a tile, further apart where these would be many.
    constexpr std::size_t count = word_count<typename M::template state<T>, T>;
    Job with = job;
    std::int64_t longest = 0;
    for (std::int64_t n = 0; n < job.shape.sequences(); ++n) longest = (std::max)(longest, job.sequence_at(n).length);
    with.states.every = tile_steps;
    while (with.states.every * with.states.every < tile_steps * longest / 256) with.states.every *= 2;
    const std::int64_t times = checkpoint_count(job.shape, with.states.every);
    const std::int64_t size = job.shape.batch * times * job.shape.channels * job.shape.states;
    aligned_vector<T> memory(count * static_cast<std::size_t>(size));
    const auto tensors = from_words<state_tensors<M, T>, tensor<T>>([&](auto i) {
      return tensor<T>(memory.data() + static_cast<std::int64_t>(i) * size, job.shape.batch, times, job.shape.channels,
                       job.shape.states);
    });
    const auto none = with_members(job.out_bar, [](const auto&... y) {
      return typename M::template outputs<tensor<T>>{(static_cast<void>(y), tensor<T>())...};
    });
    run_forward(policy, mixer_job<M, decltype(job.in), decltype(none)>{
                            job.shape,
                            job.in,
                            none,
                            {.initial = job.states.initial, .checkpoints = tensors, .every = with.states.every}});
    with.states.checkpoints = read_only<M>(tensors);
    return run_backward(policy, with);
  }
  if (parameters_vary(job)) {
    backward_on_threads<true>(policy, job);
  } else {
    backward_on_threads<false>(policy, job);
  }
}

#else

template <class Job, class Work = Job>
void run_backward(const omp&, const Job&) {
  openmp_is_off<Work>();
}

#endif

}  // namespace kalscan::detail

#include <kalscan/detail/lanes_end.hpp>
