// SPDX-License-Identifier: MIT
// The Kalman filter and smoother over ranks: `filter`, `log_likelihood` and `smooth` of <kalscan/kalman/filter.hpp> and
// <kalscan/kalman/smoother.hpp>, each rank with its steps of every series, perhaps none.
//
// All ranks give the same model; where its matrices are given per step, those of their own steps (F_t, Q_t and B_t lead
// to step t, also to the first of a rank), and a rank without steps those of any one step. The prior is that of the
// whole series. Results hold the rank's steps; the log-likelihood is that of all, summed chunk by chunk. With a fixed
// chunk a filter has the bits of one rank where ranks' boundaries are on multiples of it, counted from the end of the
// beginning under a diffuse or vague prior; a smoother, where they are so from the end, too.
//
// The first rank that has steps must have the whole beginning of each series whose prior is diffuse, or vague beside
// the readings of any rank. What one rank carries as roots (kalman/README.md) is not run over ranks: all throw
// std::invalid_argument of the same text, for a model whose R is singular at some step or that is sharp before any
// work, for a series that is outgrown when it has been filtered. Square-root forms do not compile.
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <kalscan/kalman/filter.hpp>
#include <kalscan/kalman/smoother.hpp>
#include <kalscan/ranks/agree.hpp>
#include <kalscan/ranks/ranks.hpp>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace kalscan {
namespace detail {

/// What a rank has: how many steps of each series, and for each model the largest precision and noise at these steps.
template <class T, int N>
struct rank_series {
  std::vector<std::int64_t> steps;
  std::vector<Eigen::Vector<T, N>> precision, noise;
};

/// What each rank has. Throws where ranks differ in the models, or a model is one that is not run over ranks.
template <class P, class T, int N, int M>
std::vector<rank_series<T, N>> series_of_ranks(const P& p, const char* verb,
                                               std::span<const kalman_model<T, N, M>> models,
                                               const std::vector<std::int64_t>& lengths, bool filters) {
  check_arguments(p, [&] {
    for (std::size_t i = 0; i < models.size(); ++i) {
      const std::string name = std::to_string(i), refused = ": such models are carried as roots, not run over ranks";
      if (!noise_is_definite(models[i])) bad_model("R of model " + name + " is singular at some step" + refused);
      if (reads_sharply(models[i])) {
        bad_model("model " + name + " is sharp: Q moves more than one state, and a reading of them by far more than R" +
                  refused);
      }
    }
  });
  rank_call call;
  call.text = name_of_call(verb + std::string(" of ") + std::string(type_name<kalman_model<T, N, M>>()));
  call.equal = {std::ssize(lengths), std::ssize(models)};
  agree(p.communicator, call, {"the number of series", "the number of models"});
  rank_series<T, N> mine{lengths, {}, {}};
  const auto longest = lengths.empty() ? 0 : *std::max_element(lengths.begin(), lengths.end());
  std::vector<std::array<std::int64_t, 2>> sizes;
  for (std::size_t i = 0; i < models.size(); ++i) {
    sizes.push_back({models[i].states(), models[i].observed()});
    mine.precision.push_back(Eigen::Vector<T, N>::Zero(models[i].states()));
    mine.noise.push_back(mine.precision.back());
    if (!filters || (models.size() == 1 ? longest : lengths[i]) == 0) continue;
    mine.precision[i] = vague_states<T, N, M>(models[i]).precision();
    mine.noise[i] = largest_noise(models.subspan(i, 1))[0];
  }
  const auto all_sizes = share(p, {}, sizes);
  for (std::size_t i = 0; i < models.size(); ++i) {
    const auto of_rank = [&](int r) {
      const auto& [states, observed] = all_sizes[static_cast<std::size_t>(r)][i];
      return std::to_string(states) + " states and " + std::to_string(observed) + " observed components";
    };
    for (int r = 1; r < p.communicator.size(); ++r) {
      if (of_rank(r) == of_rank(0)) continue;
      bad_model("the ranks differ in model " + std::to_string(i) + ": " +
                who_says_what(p.communicator.size(), of_rank));
    }
  }
  return share(p, {}, mine);
}

/// For each series, the first rank that has steps of it.
template <class T, int N>
std::vector<std::size_t> first_ranks(const std::vector<rank_series<T, N>>& have, std::size_t count) {
  std::vector<std::size_t> first;
  for (std::size_t i = 0; i < count; ++i) {
    std::size_t r = 0;
    while (r < have.size() && have[r].steps[i] == 0) ++r;
    if (r == have.size()) bad_model("y of series " + std::to_string(i) + " is empty on all ranks");
    first.push_back(r);
  }
  return first;
}

/// For each model, what says whether a prior is vague and whether a series is outgrown. As on one rank, both are judged by
/// all steps: those of all ranks.
template <class T, int N, int M>
struct scales_of_ranks {
  std::vector<vague_states<T, N, M>> vague;
  std::vector<Eigen::Vector<T, N>> noise;
  std::vector<char> begins;  // whether a series has a beginning, of steps that are not ordinary

  scales_of_ranks(std::span<const kalman_model<T, N, M>> models, const std::vector<rank_series<T, N>>& have) {
    for (std::size_t k = 0; k < models.size(); ++k) {
      Eigen::Vector<T, N> precision = have[0].precision[k], most = have[0].noise[k];
      for (const auto& of_rank : have) {
        precision = precision.cwiseMax(of_rank.precision[k]).eval();
        most = most.cwiseMax(of_rank.noise[k]).eval();
      }
      vague.emplace_back(precision);
      noise.push_back(most);
      begins.push_back(has_beginning(filter_step<T, N, M>(models[k]), vague[k]));
    }
  }
  bool begins_series(std::size_t i) const { return begins[begins.size() == 1 ? 0 : i]; }
};

/// The models that rank `me` filters with, one for all series where one suffices. Where a series has steps on an earlier
/// rank, its state arrives from there, and a transition leads to its first step here. Only rank `start` takes beginnings.
template <class T, int N, int M>
std::vector<kalman_model<T, N, M>> models_of_rank(std::span<const kalman_model<T, N, M>> models,
                                                  const scales_of_ranks<T, N, M>& scales,
                                                  const std::vector<std::size_t>& first, std::size_t start,
                                                  std::size_t me) {
  const std::size_t count = first.size();
  const auto arrives = [&](std::size_t i) { return count > 0 && first[i] < me; };
  bool alike = models.size() == 1;
  for (std::size_t i = 0; i < count; ++i) alike = alike && arrives(i) == arrives(0);
  std::vector<kalman_model<T, N, M>> own;
  for (std::size_t i = 0; i < (alike ? 1 : count); ++i) {
    own.push_back(of_series(models, static_cast<std::int64_t>(i)));
    if (!arrives(i) && (me == start || !scales.begins_series(i))) continue;
    gaussian_prior<T, N>& prior = own.back().prior;
    const bool before = arrives(i) || prior.before_first_transition;
    const Eigen::Index n = own.back().states();
    prior = gaussian_prior<T, N>::of_first_state(Eigen::Vector<T, N>::Zero(n), Eigen::Matrix<T, N, N>::Zero(n, n));
    prior.before_first_transition = before;
  }
  return own;
}

/// For each series of a rank: the number of steps of its beginning, and the variances after it.
template <class T>
struct after_beginnings {
  std::vector<std::int64_t> steps;
  std::vector<Eigen::Vector<T, Eigen::Dynamic>> variances;
};

/// Refuses a beginning that does not end on the first rank with steps, where others go on.
template <class T, int N>
void require_ended(const std::vector<rank_series<T, N>>& have, std::size_t start, std::size_t i, std::int64_t begun) {
  const std::int64_t there = have[start].steps[i];
  bool goes_on = false;
  for (std::size_t r = start + 1; r < have.size(); ++r) goes_on = goes_on || have[r].steps[i] > 0;
  if (!goes_on || begun < there) return;
  bad_model("series " + std::to_string(i) + " has a diffuse or vague prior, and the " + std::to_string(there) +
            " steps of rank " + std::to_string(start) +
            ", the first one with any, do not end its beginning: give that rank more");
}

/// For each series of a rank: its log-likelihood, a sum for each stretch of time, and whether it is outgrown.
template <class T>
struct after_sweep {
  std::vector<std::vector<T>> sums;
  std::vector<char> outgrown;
};

/// The log-likelihood of series i on all ranks, in order of time.
template <class T>
T log_likelihood_of_ranks(const std::vector<after_sweep<T>>& all, std::size_t i) {
  T total = 0;
  for (std::size_t r = 0; r < all.size(); ++r) {
    if (all[r].outgrown[i]) {
      bad_model("series " + std::to_string(i) + " is outgrown on rank " + std::to_string(r) +
                ": some variance has grown so far that a covariance loses digits of the others; such series are "
                "carried as roots, not run over ranks");
    }
    for (const T sum : all[r].sums[i]) total += sum;
  }
  return total;
}

/// What this rank must know, for its smoother, of other ranks' steps of each series.
template <class T, int N>
struct edges_of_rank {
  std::vector<stretch_edges<T, N>> all;
  std::vector<std::size_t> next;  // the next rank that has steps of the series, if there is one
  std::int64_t longest = 1;       // the most steps of a series that are smoothed here, with the last one of an earlier rank

  /// `last`: the last filtered belief of each series on each rank.
  edges_of_rank(const std::vector<rank_series<T, N>>& have, const std::vector<std::vector<matrix_belief<T, N>>>& last,
                std::size_t me)
      : all(have[me].steps.size()), next(all.size()) {
    for (std::size_t i = 0; i < all.size(); ++i) {
      const std::int64_t here = have[me].steps[i];
      if (here == 0) continue;
      for (std::size_t r = have.size(); r-- > me + 1;) {
        if (have[r].steps[i] > 0) all[i].has_after = true, next[i] = r;
      }
      for (std::size_t r = 0; r < me; ++r) {
        if (have[r].steps[i] > 0) all[i].has_before = true, all[i].filtered_before = last[r][i];
      }
      longest = (std::max)(longest, here + (all[i].has_before ? 1 : 0));
    }
  }
};

}  // namespace detail

/// What `filter` and `log_likelihood` do with a policy over ranks, which they find by argument-dependent lookup:
/// beginnings first, on the rank that has them, then all steps, then the sums of the log-likelihood.
template <communicator Communicator, class Inner, class T, int N, int M>
std::vector<filter_result<T, N, M>> run_filter_over(const ranks<Communicator, Inner>& p,
                                                    std::span<const kalman_model<T, N, M>> models,
                                                    std::span<const observations<T, M>> series, filter_outputs outputs,
                                                    bool keeps) {
  using namespace detail;
  if (p.communicator.size() == 1) return run_filter(p.inner, models, series, outputs, keeps);
  std::vector<std::int64_t> lengths;
  for (const auto& y : series) lengths.push_back(y.cols());
  const auto have = series_of_ranks(p, "filter", models, lengths, true);
  const auto me = static_cast<std::size_t>(p.communicator.rank());
  const auto count = series.size();
  const std::vector<std::size_t> first = first_ranks(have, count);
  const std::size_t start = count == 0 ? me : *std::min_element(first.begin(), first.end());
  const scales_of_ranks<T, N, M> scales(models, have);
  const auto own = models_of_rank(models, scales, first, start, me);

  std::vector<filter_step<T, N, M>> steppers;
  std::vector<filter_result<T, N, M>> results;
  after_beginnings<T> begun;
  attempt work;
  work([&] {
    steppers = std::vector<filter_step<T, N, M>>(own.begin(), own.end());
    results = start_filter<Inner, T, N, M>(p.inner, steppers, series, outputs, keeps, false, scales.vague);
    for (const auto& result : results) {
      begun.steps.push_back(result.beginning.size());
      begun.variances.push_back(result.first_variances);
    }
  });
  const auto all_begun = share(p, work, begun);
  for (std::size_t i = 0; i < count; ++i) {
    results[i].first_variances = all_begun[start].variances[i];
    if (scales.begins_series(i)) require_ended(have, start, i, all_begun[start].steps[i]);
  }

  stretch_sums<T> sums;
  chosen_series chosen;
  for (std::size_t i = 0; i < count; ++i) {
    chosen.numbers.push_back(static_cast<std::int64_t>(i));
    chosen.longest = (std::max)(chosen.longest, lengths[i] - results[i].beginning.size());
  }
  auto watches = growth_watches<T, N, M>(scales.noise, results);
  run_sweep(p, filter_sweep<T, N, M>{steppers, series, results, outputs, &sums, chosen, watches});

  after_sweep<T> after{sums.by_stretch(count), {}};
  for (std::size_t i = 0; i < count; ++i) {
    after.outgrown.push_back(watches[i].outgrown);
    if (keeps) {
      after.sums[i] =
          sums_by_chunk(results[i].log_likelihood_terms, results[i].beginning.size(), chunk_length(tasks_of(p.inner)));
    }
  }
  const auto all = share(p, {}, after);
  for (std::size_t i = 0; i < count; ++i) results[i].log_likelihood = log_likelihood_of_ranks(all, i);
  return results;
}

/// What `smooth` does with a policy over ranks. The last step of a rank is smoothed by the next one that has steps; and
/// again, from its own first step, where digits may be lost: in sequence, from the last rank to the first.
template <communicator Communicator, class Inner, class T, int N, int M>
std::vector<smoother_result<T, N, M>> run_smoother_over(const ranks<Communicator, Inner>& p,
                                                        std::span<const kalman_model<T, N, M>> models,
                                                        std::vector<filter_result<T, N, M>> filtered) {
  using namespace detail;
  using sweep = smoother_sweep<T, N, M>;
  using belief = matrix_belief<T, N>;
  if (p.communicator.size() == 1) return run_smoother<false>(p.inner, models, std::move(filtered));
  const std::size_t count = filtered.size();
  check_arguments(p, [&] {
    for (std::size_t i = 0; i < count; ++i) {
      if (filtered[i].covariance_root.empty()) continue;
      bad_model("the filter result of series " + std::to_string(i) + " has roots: such series are not run over ranks");
    }
  });
  std::vector<std::int64_t> lengths, chosen(count);
  for (const auto& x : filtered) lengths.push_back(x.mean.cols());
  std::iota(chosen.begin(), chosen.end(), std::int64_t{0});
  const auto have = series_of_ranks(p, "smooth", models, lengths, false);
  const auto me = static_cast<std::size_t>(p.communicator.rank());

  std::vector<belief> last(count);
  for (std::size_t i = 0; i < count; ++i) {
    if (lengths[i] > 0) last[i] = {filtered[i].mean.col(lengths[i] - 1), filtered[i].covariance.back()};
  }
  edges_of_rank<T, N> neighbours(have, share(p, {}, last), me);
  auto& edges = neighbours.all;
  const std::vector<filter_step<T, N, M>> steppers(models.begin(), models.end());
  auto results = room_to_smooth(std::move(filtered));
  std::vector<std::vector<char>> cancelled;
  for (const std::int64_t length : lengths) cancelled.emplace_back(static_cast<std::size_t>(length));
  const sweep along_time{steppers, results, chosen, cancelled, neighbours.longest, edges};
  run_sweep(p, along_time);
  const auto lane = [&](std::size_t i) { return along_time.lane_of(static_cast<std::int64_t>(i)); };

  struct before {  // the last step of the rank before
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
      if (lengths[i] == 0) continue;
      lane(i).write(lengths[i] - 1, edges[i].has_after ? all_before[neighbours.next[i]][i].smoothed : last[i]);
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
  for (std::size_t r = have.size(); any && r-- > 1;) {
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
        if (!edges[i].has_after || neighbours.next[i] != r || !all[r][i].again) continue;
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
