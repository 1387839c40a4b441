// SPDX-License-Identifier: MIT
// The Kalman filter and smoother over ranks: `filter`, `log_likelihood` and `smooth` of <kalscan/kalman/filter.hpp> and
// <kalscan/kalman/smoother.hpp>, each rank with its steps of every series, perhaps none.
//
// All ranks give the same model; where its matrices are given per step, those of their own steps (F_t, Q_t and B_t lead
// to step t, also to the first of a rank). The prior is that of the whole series. Results hold the rank's steps; the
// log-likelihood is that of all, summed chunk by chunk. With a fixed chunk a filter has the bits of one rank where
// ranks' boundaries are on multiples of it, counted from the end of the beginning under a diffuse or vague prior; a
// smoother, where they are so from the end, too.
//
// A diffuse or vague beginning has to end within the first rank. Models whose R is singular at some step, and
// square-root forms, are not run over ranks: std::invalid_argument says so. Series that one rank would carry as roots
// all the same (kalman/README.md: sharp, outgrown) are carried as covariances here, with the digits that these keep,
// and then do not have the bits of one rank.
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <kalscan/kalman/filter.hpp>
#include <kalscan/kalman/smoother.hpp>
#include <kalscan/ranks/agree.hpp>
#include <kalscan/ranks/bytes.hpp>
#include <kalscan/ranks/ranks.hpp>
#include <numeric>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace kalscan {
namespace detail {

/// How many steps of each series each rank has, [rank][series]; and that none is what ranks do not share.
template <class P, class T, int N, int M>
std::vector<std::vector<std::int64_t>> steps_of_ranks(const P& p, const char* verb,
                                                      std::span<const kalman_model<T, N, M>> models,
                                                      const std::vector<std::int64_t>& lengths) {
  check_arguments(p, [&] {
    for (std::size_t i = 0; i < models.size(); ++i) {
      if (noise_is_definite(models[i])) continue;
      bad_model("R of model " + std::to_string(i) + " is singular at some step: such models are not run over ranks");
    }
  });
  rank_call call;
  call.text = name_of_call(verb + std::string(" of ") + std::string(type_name<kalman_model<T, N, M>>()));
  call.equal = {std::ssize(lengths), std::ssize(models), models.empty() ? 0 : models[0].states(),
                models.empty() ? 0 : models[0].observed()};
  agree(p.communicator, call,
        {"the number of series", "the number of models", "the states", "the observed components"});
  byte_string mine, memory;
  put(mine, lengths);
  std::vector<std::vector<std::int64_t>> all;
  for (byte_reader& from : exchange(p.communicator, {}, mine, mine.size(), memory))
    all.push_back(get<std::vector<std::int64_t>>(from));
  return all;
}

/// Gives every rank what all have, and their failures.
template <class X, class P>
std::vector<X> share(const P& p, const attempt& done, const X& x) {
  byte_string mine, memory;
  if (!done.failure()) put(mine, x);
  std::vector<X> all;
  for (byte_reader& from : exchange(p.communicator, done, mine, std::nullopt, memory)) all.push_back(get<X>(from));
  return all;
}

/// The terms of a series' log-likelihood, summed chunk by chunk after its beginning.
template <class T>
std::vector<T> sums_by_chunk(const std::vector<T>& terms, std::int64_t beginning, std::int64_t chunk) {
  std::vector<T> sums;
  const auto size = std::ssize(terms);
  for (std::int64_t t = 0; t < size;) {
    const std::int64_t end = chunk == 0 ? size : (std::min)(size, (t == 0 ? beginning : t) + chunk);
    sums.push_back(std::accumulate(terms.begin() + t, terms.begin() + end, T(0)));
    t = end;
  }
  return sums;
}

}  // namespace detail

template <communicator Communicator, class Inner, class T, int N, int M>
std::vector<filter_result<T, N, M>> run_filter_over(const ranks<Communicator, Inner>& p,
                                                    std::span<const kalman_model<T, N, M>> models,
                                                    std::span<const observations<T, M>> series, filter_outputs outputs,
                                                    bool keeps) {
  using namespace detail;
  if (p.communicator.size() == 1) return run_filter(p.inner, models, series, outputs, keeps);
  std::vector<std::int64_t> lengths;
  for (const auto& y : series) lengths.push_back(y.cols());
  const auto steps = steps_of_ranks(p, "filter", models, lengths);
  const auto me = static_cast<std::size_t>(p.communicator.rank());
  const auto count = series.size();
  const auto is_empty = [](const std::vector<std::int64_t>& of_rank) {
    return std::all_of(of_rank.begin(), of_rank.end(), [](std::int64_t x) { return x == 0; });
  };
  const std::size_t start =
      static_cast<std::size_t>(std::find_if_not(steps.begin(), steps.end(), is_empty) - steps.begin());

  // Models whose first step here is not the series' first one: a transition leads to it.
  std::vector<char> begins(count);
  for (std::size_t i = 0; i < count; ++i) {
    begins[i] = std::none_of(steps.begin(), steps.begin() + static_cast<std::ptrdiff_t>(me),
                             [&](const auto& of_rank) { return of_rank[i] > 0; });
  }
  const bool alike = models.size() == 1 && std::equal(begins.begin() + (count > 0), begins.end(), begins.begin());
  std::vector<kalman_model<T, N, M>> own;
  for (std::size_t i = 0; i < (alike ? models.size() : count); ++i) {
    own.push_back(of_series(models, static_cast<std::int64_t>(i)));
    const bool begins_here = count == 0 || begins[i];
    if (begins_here && me == start) continue;
    gaussian_prior<T, N>& prior = own.back().prior;
    const bool before = !begins_here || prior.before_first_transition;
    const Eigen::Index n = own.back().states();  // the state arrives from another rank
    prior = gaussian_prior<T, N>::of_first_state(Eigen::Vector<T, N>::Zero(n), Eigen::Matrix<T, N, N>::Zero(n, n));
    prior.before_first_transition = before;
  }
  std::vector<filter_step<T, N, M>> steppers;
  std::vector<filter_result<T, N, M>> results;
  attempt work;
  work([&] {
    steppers = std::vector<filter_step<T, N, M>>(own.begin(), own.end());
    for (std::size_t i = 0; i < count; ++i) {
      if (std::all_of(steps.begin(), steps.end(), [&](const auto& of_rank) { return of_rank[i] == 0; }))
        bad_model("y of series " + std::to_string(i) + " is empty on all ranks");
    }
    results = start_filter<Inner, T, N, M>(p.inner, steppers, series, outputs, keeps, beginning::without_roots);
    for (std::size_t i = 0; i < count; ++i) {
      const auto& stepper = of_series<filter_step<T, N, M>>(steppers, static_cast<std::int64_t>(i));
      if (!has_beginning(stepper, beginning::without_roots)) continue;
      const bool goes_on = std::any_of(steps.begin() + static_cast<std::ptrdiff_t>(me) + 1, steps.end(),
                                       [&](const auto& of_rank) { return of_rank[i] > 0; });
      if (goes_on && results[i].beginning.size() >= lengths[i])
        bad_model("series " + std::to_string(i) + " has a diffuse or vague prior, and the " +
                  std::to_string(lengths[i]) +
                  " steps of the first rank do not end its beginning: give that rank more");
    }
  });
  share(p, work, std::int64_t{0});

  stretch_sums<T> sums;
  chosen_series chosen;
  for (std::size_t i = 0; i < count; ++i) {
    chosen.numbers.push_back(static_cast<std::int64_t>(i));
    chosen.longest = (std::max)(chosen.longest, lengths[i] - results[i].beginning.size());
  }
  run_sweep(p, filter_sweep<T, N, M>{steppers, series, results, outputs, &sums, chosen});

  auto by_stretch = sums.by_stretch(count);
  for (std::size_t i = 0; i < count && keeps; ++i)
    by_stretch[i] =
        sums_by_chunk(results[i].log_likelihood_terms, results[i].beginning.size(), chunk_length(tasks_of(p.inner)));
  const auto all = share(p, {}, by_stretch);
  for (std::size_t i = 0; i < count; ++i) {
    results[i].log_likelihood = 0;
    for (const auto& of_rank : all) {
      for (const T sum : of_rank[i]) results[i].log_likelihood += sum;
    }
  }
  return results;
}

template <communicator Communicator, class Inner, class T, int N, int M>
std::vector<smoother_result<T, N, M>> run_smoother_over(const ranks<Communicator, Inner>& p,
                                                        std::span<const kalman_model<T, N, M>> models,
                                                        std::vector<filter_result<T, N, M>> filtered) {
  using namespace detail;
  using sweep = smoother_sweep<T, N, M>;
  using belief = matrix_belief<T, N>;
  if (p.communicator.size() == 1) return run_smoother<false>(p.inner, models, std::move(filtered));
  const std::size_t count = filtered.size();
  std::vector<std::int64_t> lengths, chosen(count);
  for (const auto& x : filtered) lengths.push_back(x.mean.cols());
  std::iota(chosen.begin(), chosen.end(), std::int64_t{0});
  const auto steps = steps_of_ranks(p, "smooth", models, lengths);
  const auto me = static_cast<std::size_t>(p.communicator.rank());
  const auto ranks_with_steps = [&](std::size_t i, std::size_t from, std::size_t to) {
    for (std::size_t r = from; r < to; ++r) {
      if (steps[r][i] > 0) return true;
    }
    return false;
  };

  // What is filtered last on each rank is what the next one needs of it.
  std::vector<belief> last(count);
  for (std::size_t i = 0; i < count; ++i) {
    if (lengths[i] > 0) last[i] = {filtered[i].mean.col(lengths[i] - 1), filtered[i].covariance.back()};
  }
  std::vector<stretch_edges<T, N>> edges(count);
  const auto all_last = share(p, {}, last);
  std::int64_t longest = 1;
  for (std::size_t i = 0; i < count; ++i) {
    if (lengths[i] == 0) continue;
    edges[i].has_after = ranks_with_steps(i, me + 1, steps.size());
    edges[i].has_before = ranks_with_steps(i, 0, me);
    for (std::size_t r = 0; r < me; ++r) {
      if (steps[r][i] > 0) edges[i].filtered_before = all_last[r][i];
    }
    longest = (std::max)(longest, lengths[i] + (edges[i].has_before ? 1 : 0));
  }
  const std::vector<filter_step<T, N, M>> steppers(models.begin(), models.end());
  auto results = room_to_smooth(std::move(filtered));
  std::vector<std::vector<char>> cancelled;
  for (const std::int64_t length : lengths) cancelled.emplace_back(static_cast<std::size_t>(length));
  const sweep along_time{steppers, results, chosen, cancelled, longest, edges};
  run_sweep(p, along_time);
  const auto lane = [&](std::size_t i) { return along_time.lane_of(static_cast<std::int64_t>(i)); };
  const auto next_rank = [&](std::size_t i) {  // that has steps
    std::size_t r = me + 1;
    while (steps[r][i] == 0) ++r;
    return r;
  };

  // The last step here is smoothed by the next rank; and again, from its own first step, where digits may be lost: in
  // sequence.
  struct before {
    belief smoothed;
    bool again;  // at first, whether it may be; then, whether it is
  };
  std::vector<before> mine;
  for (std::size_t i = 0; i < count; ++i) {
    const bool lost = std::find(cancelled[i].begin(), cancelled[i].end(), true) != cancelled[i].end();
    mine.push_back({edges[i].smoothed_before, edges[i].has_before && (lost || edges[i].cancelled_before)});
  }
  const auto all_before = share(p, {}, mine);
  attempt work;
  work([&] {
    for (std::size_t i = 0; i < count; ++i) {
      if (edges[i].has_after) lane(i).write(lengths[i] - 1, all_before[next_rank(i)][i].smoothed);
    }
  });
  std::vector<char> taken(count);  // from the next one: the last step here, and then the first
  const auto finish = [&] {
    for (std::size_t i = 0; i < count; ++i) {
      if (lengths[i] > 0) taken[i] = lane(i).finish(taken[i]);
    }
  };
  const bool any = std::any_of(all_before.begin(), all_before.end(), [](const auto& of_rank) {
    return std::any_of(of_rank.begin(), of_rank.end(), [](const before& x) { return x.again; });
  });
  for (std::size_t r = steps.size(); any && r-- > 1;) {
    std::vector<before> again(count);
    if (r == me) {
      work(finish);
      work([&] {
        for (std::size_t i = 0; i < count; ++i) {
          if (!edges[i].has_before) continue;
          again[i].again = lane(i).take_from_next(-1, edges[i].cancelled_before, taken[i]);
          again[i].smoothed = edges[i].smoothed_before;
        }
      });
    }
    const auto all = share(p, work, again);
    work([&] {
      for (std::size_t i = 0; i < count; ++i) {
        if (!edges[i].has_after || next_rank(i) != r || !all[r][i].again) continue;
        lane(i).write(lengths[i] - 1, all[r][i].smoothed);
        taken[i] = true;
      }
    });
  }
  if (!any || me == 0) work(finish);
  share(p, work, std::int64_t{0});
  return results;
}

}  // namespace kalscan
