// SPDX-License-Identifier: MIT
// The mixer on several threads: blocks of channels in parallel, and chunks of time by absorb, carry, replay.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <kalscan/backend/omp.hpp>
#include <kalscan/detail/aligned_vector.hpp>
#include <kalscan/detail/fields.hpp>
#include <kalscan/detail/mixer_check.hpp>
#include <kalscan/detail/mixer_plan.hpp>
#include <kalscan/detail/mixer_tile.hpp>
#include <kalscan/detail/words.hpp>
#include <kalscan/kla/mixer.hpp>
#include <vector>

#include <kalscan/detail/lanes_begin.hpp>

namespace kalscan::detail {

/// A block's states from the [n, t, M, S] tensors of a state.
template <class M, class T, class Read>
void load_block(T* state, std::int64_t states, std::int64_t channel, std::int64_t width, Read read) {
  const lane_words<typename M::template state<T>, T> x{state};
  for_each_lane<T>(states, [&](std::int64_t s, std::int64_t w) {
    x.set(s, w, w < width ? read(channel + w, s) : M::template start<T>());
  });
}

/// A block's states into such tensors, where they are there.
template <class T, class Tensors>
void store_block(const Tensors& tensors, std::int64_t n, std::int64_t t, const T* state, std::int64_t states,
                 std::int64_t channel, std::int64_t width, bool add = false) {
  constexpr std::int64_t W = block_width<T>;
  const auto to = tensors_of<T>(tensors);
  for (std::size_t i = 0; i < to.size(); ++i) {
    if (!to[i].present()) continue;
    for (std::int64_t s = 0; s < states; ++s) {
      const T* from = state + (s * std::ssize(to) + static_cast<std::int64_t>(i)) * W;
      for (std::int64_t w = 0; w < width; ++w) {
        T& x = to[i](n, t, channel + w, s);
        x = add ? x + from[w] : from[w];
      }
    }
  }
}

/// Some blocks of channels of a job, walked through time by one thread.
template <class Job, bool Varying>
class forward_walk {
 public:
  using M = typename Job::mixer;
  using T = typename Job::number;
  using state_words = lane_words<typename M::template state<T>, T>;
  static constexpr std::int64_t W = block_width<T>;

  forward_walk(const Job& job, std::int64_t first_block, std::int64_t last_block)
      : job_(job), stage_(job, first_block, last_block - first_block), blocks_(last_block - first_block) {
    with_members(job.out, [&](const auto&... y) { emits_ = (y.present() || ...); });
    checkpoints_ = words<tensor<T>>(job.states.checkpoints)[0].present();
    const auto outputs = static_cast<std::int64_t>(word_count<typename M::template outputs<T>, T>);
    out_.resize(static_cast<std::size_t>(outputs * tile_steps * W));
    saved_.resize(static_cast<std::size_t>(block_length()));
    ordinary_.resize(static_cast<std::size_t>(blocks_));
  }

  std::int64_t block_length() const { return state_words::length(job_.shape.states); }
  aligned_vector<T> no_states() const { return aligned_vector<T>(static_cast<std::size_t>(blocks_ * block_length())); }

  void load_initial(std::int64_t n, T* states) {
    for (std::int64_t g = 0; g < blocks_; ++g) {
      load_block<M>(states + g * block_length(), job_.shape.states, stage_.channel(g), stage_.width(g),
                    [&](std::int64_t m, std::int64_t s) { return job_.states.initial(n, m, s); });
    }
  }
  /// Uses `saved_`.
  void store_final(std::int64_t n, const T* states) {
    for (std::int64_t g = 0; g < blocks_; ++g) {
      const T* block = states + g * block_length();
      if constexpr (has_forms<decltype(job_.states.final)>) {
        if (job_.states.final.information_form || !ordinary_[static_cast<std::size_t>(g)]) {
          const state_words x{const_cast<T*>(block)}, numbers{saved_.data()};
          for_each_lane<T>(job_.shape.states, [&](std::int64_t s, std::int64_t w) {
            numbers.set(s, w, numbers_of(job_.states.final, x(s, w)));
          });
          block = saved_.data();
        }
      }
      store_block(job_.states.final, n, 0, block, job_.shape.states, stage_.channel(g), stage_.width(g));
    }
  }
  template <class Tensors>
  void store(const Tensors& tensors, std::int64_t n, std::int64_t t, const T* states) {
    for (std::int64_t g = 0; g < blocks_; ++g) {
      store_block(tensors, n, t, states + g * block_length(), job_.shape.states, stage_.channel(g), stage_.width(g));
    }
  }

  /// Steps [from, to) of sequence n, changing the states and writing outputs, checkpoints and, at the end, final
  /// states.
  void replay(std::int64_t n, std::int64_t from, std::int64_t to, T* states) { take<true>(n, from, to, states); }
  /// The same steps, changing the states alone.
  void advance(std::int64_t n, std::int64_t from, std::int64_t to, T* states) { take<false>(n, from, to, states); }

  /// Steps [from, to) of sequence n as elements, one for each lane.
  void absorb(std::int64_t n, std::int64_t from, std::int64_t to, T* elements) requires mixer_with_elements<M> {
    using element = element_t<decltype(M::template monoid<T>())>;
    const std::int64_t S = job_.shape.states;
    const sequence_place at = job_.sequence_at(n);
    stage_.start_batch(at.batch);
    for (std::int64_t t = from; t < to;) {
      const std::int64_t steps = (std::min)(tile_steps, to - t);
      stage_.stage_states(at.batch, at.first + t, steps);
      for (std::int64_t g = 0; g < blocks_; ++g) {
        stage_.stage_block(at.batch, at.first + t, steps, g);
        const auto u = stage_.terms(g);
        const lane_words<element, T> x{elements + g * lane_words<element, T>::length(S)};
        if (t == from) {
          for_each_lane<T>(S, [&](std::int64_t s, std::int64_t w) { x.set(s, w, M::template monoid<T>().identity()); });
        }
        absorb_steps(u, steps, x);
      }
      t += steps;
    }
  }

 private:
  template <bool Writes>
  void take(std::int64_t n, std::int64_t from, std::int64_t to, T* states) {
    const sequence_place at = job_.sequence_at(n);
    stage_.start_batch(at.batch);
    for (std::int64_t g = 0; g < blocks_; ++g) {
      ordinary_[static_cast<std::size_t>(g)] = is_ordinary<M>(states + g * block_length(), job_.shape.states);
    }
    for (std::int64_t t = from; t < to;) {
      if constexpr (Writes) keep(n, t, states);
      const std::int64_t steps = tile(t, to);
      stage_.stage_states(at.batch, at.first + t, steps);
      for (std::int64_t g = 0; g < blocks_; ++g) {
        stage_.stage_block(at.batch, at.first + t, steps, g);
        T* block = states + g * block_length();
        char& ordinary = ordinary_[static_cast<std::size_t>(g)];
        if (Writes && emits_) {
          prefetch(at.batch, at.first + t, steps, g);
          advance_block<true, M>(stage_.terms(g), steps, block, 0, out_.data(), saved_.data(), ordinary);
          write(at.batch, at.first + t, steps, g);
        } else {
          advance_block<false, M>(stage_.terms(g), steps, block, 0, out_.data(), saved_.data(), ordinary);
        }
      }
      t += steps;
    }
    if (Writes && to == at.length) {
      keep(n, at.length, states);
      store_final(n, states);
    }
  }

  template <class Terms, class Elements>
  KALSCAN_FLATTEN static void absorb_steps(const Terms u, std::int64_t steps, const Elements x) {
    for (std::int64_t t = 0; t < steps; ++t) {
      for (std::int64_t s = 0; s < u.states; ++s) {
        KALSCAN_LANES
        for (std::int64_t w = 0; w < W; ++w) x.set(s, w, M::absorb(x(s, w), u(t, s, w)));
      }
    }
  }

  std::int64_t tile(std::int64_t t, std::int64_t to) const {
    std::int64_t steps = (std::min)(tile_steps, to - t);
    if (checkpoints_) steps = (std::min)(steps, job_.states.every - t % job_.states.every);
    return steps;
  }
  void keep(std::int64_t n, std::int64_t t, const T* states) {
    if (!checkpoints_ || t % job_.states.every != 0) return;
    const std::int64_t slot = first_checkpoint(job_.shape, n, job_.states.every) + t / job_.states.every;
    store(job_.states.checkpoints, job_.sequence_at(n).batch, slot, states);
  }
  void prefetch(std::int64_t b, std::int64_t t0, std::int64_t steps, std::int64_t g) {
    for_each_member(job_.out, [&](const auto& y) {
      for (std::int64_t t = 0; t < steps && y.present(); ++t) {
        prefetch_lanes<true>(y.at(b, t0 + t, stage_.channel(g), 0), y.stride[2], stage_.width(g));
      }
    });
  }
  void write(std::int64_t b, std::int64_t t0, std::int64_t steps, std::int64_t g) {
    for (std::int64_t t = 0; t < steps; ++t) {
      const T* from = out_.data() + t * W;
      for_each_member(job_.out, [&](const auto& y) {
        if (y.present()) scatter_lanes(y.at(b, t0 + t, stage_.channel(g), 0), from, y.stride[2], stage_.width(g));
        from += tile_steps * W;
      });
    }
  }

  const Job& job_;
  tile_stage<Job, Varying> stage_;
  std::int64_t blocks_;
  bool emits_ = false, checkpoints_ = false;
  aligned_vector<T> out_{}, saved_{};
  std::vector<char> ordinary_{};  // for each block
};

/// The states of a block at the beginning of each chunk after the first, from the state after the first one and the
/// elements of the chunks between: those of chunk k in states[k], and so the elements. Where gains above one took an
/// element out of range, its lane takes the steps instead: advance(k, states) takes those of chunk k.
template <class M, class T, class Advance>
void carry(std::int64_t chunks, std::int64_t states, std::int64_t state_stride, T* state, std::int64_t element_stride,
           T* elements, Advance advance) {
  using element = element_t<decltype(M::template monoid<T>())>;
  using state_words = lane_words<typename M::template state<T>, T>;
  const std::int64_t length = state_words::length(states);
  std::copy(state, state + length, state + state_stride);
  for (std::int64_t k = 2; k < chunks; ++k) {
    const state_words before{state + (k - 1) * state_stride}, after{state + k * state_stride};
    const lane_words<element, T> x{elements + (k - 1) * element_stride};
    carry_over<T>(
        states, x, before, after, [](const auto& e, const auto& s) { return M::act(e, s); },
        [&](T* block) { advance(k - 1, block); });
  }
}

#if defined(_OPENMP)

template <bool Varying, class Job>
void forward_on_threads(const omp& policy, const Job& job) {
  using M = typename Job::mixer;
  using T = typename Job::number;
  using walk_type = forward_walk<Job, Varying>;
  const int threads = threads_of(policy);
  [[maybe_unused]] const std::int64_t S = job.shape.states;
  const mixer_plan plan = plan_of(policy, job, mixer_with_elements<M>, 1);
  const auto count = static_cast<std::int64_t>(plan.whole.size() + plan.split.size());
  // Lanes do not depend on each other, so that groups may: the widest that leave two tasks a thread.
  const std::int64_t group = std::clamp<std::int64_t>(count * plan.blocks / (2 * std::int64_t(threads)), 1, 16);

  parallel_groups(threads, std::ssize(plan.whole), plan.blocks, group,
                  [&](std::int64_t i, std::int64_t g0, std::int64_t g1) {
                    walk_type walk(job, g0, g1);
                    auto states = walk.no_states();
                    const auto& range = plan.whole[static_cast<std::size_t>(i)];
                    for (std::int64_t n = range.first; n < range.last; ++n) {
                      walk.load_initial(n, states.data());
                      walk.replay(n, 0, job.sequence_at(n).length, states.data());
                    }
                  });
  if constexpr (mixer_with_elements<M>) {
    using element = element_t<decltype(M::template monoid<T>())>;
    split_passes<T> passes(plan, threads, group, lane_words<typename M::template state<T>, T>::length(S),
                           lane_words<element, T>::length(S));
    const auto make = [&](std::int64_t first, std::int64_t last) { return walk_type(job, first, last); };
    passes.run([](const split_sequence& s, std::int64_t k) { return k + 1 < s.chunks(); }, make,
               [](walk_type& walk, const time_chunk& c, T* states, T* elements) {
                 if (c.k == 0) {
                   walk.load_initial(c.sequence->n, states);
                   walk.replay(c.sequence->n, c.from, c.to, states);
                 } else {
                   walk.absorb(c.sequence->n, c.from, c.to, elements);
                 }
               });
    passes.carry([&](const split_sequence& s, std::int64_t g, std::int64_t state_stride, T* states,
                     std::int64_t element_stride, T* elements) {
      carry<M>(s.chunks(), S, state_stride, states, element_stride, elements, [&](std::int64_t k, T* block) {
        const auto i = static_cast<std::size_t>(k);
        make(g, g + 1).advance(s.n, s.bounds[i], s.bounds[i + 1], block);
      });
    });
    passes.run(
        [](const split_sequence&, std::int64_t k) { return k > 0; }, make,
        [](walk_type& walk, const time_chunk& c, T* states, T*) { walk.replay(c.sequence->n, c.from, c.to, states); });
  }
}

template <class Job>
void run_forward(const omp& policy, const Job& job) {
  if (parameters_vary(job)) {
    forward_on_threads<true>(policy, job);
  } else {
    forward_on_threads<false>(policy, job);
  }
}

#else

template <class Job, class Work = Job>
void run_forward(const omp&, const Job&) {
  openmp_is_off<Work>();
}

#endif

}  // namespace kalscan::detail

#include <kalscan/detail/lanes_end.hpp>
