// SPDX-License-Identifier: MIT
// KLA forward and backward and the gated linear recurrence; and whether to split lanes or time, at equal work.
#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <utility>

#include "device_mixers.hpp"
#include "suite.hpp"

namespace bench {
namespace {

using kalscan::compare_candidate;
using kalscan::compare_row;
using kalscan::omp;

template <class N>
void call(mixer_call which, const auto& policy, arrays<N>& x) {
  switch (which) {
    case mixer_call::kla_forward:
      return kalscan::forward(policy, kalscan::kla{}, x.shape(), x.kla_in(), x.kla_out());
    case mixer_call::kla_backward:
      return kalscan::backward(policy, kalscan::kla{}, x.shape(), x.kla_in(), x.kla_out_bar(), x.kla_in_bar());
    case mixer_call::gla_forward:
      return kalscan::forward(policy, kalscan::gla{}, x.shape(), x.gla_in(), x.gla_out());
  }
}

/// What the call writes, each part with a scale of its own.
template <class N>
std::vector<std::vector<N>*> parts(mixer_call which, arrays<N>& x) {
  switch (which) {
    case mixer_call::kla_forward:
      return {&x.y, &x.yvar};
    case mixer_call::kla_backward:
      return {&x.v_bar, &x.Lambda_bar, &x.k_bar, &x.q_bar, &x.a_bar, &x.p_bar};
    case mixer_call::gla_forward:
      break;
  }
  return {&x.y};
}

/// What the call must read and write, in numbers a step.
double numbers_a_step(mixer_call which, std::int64_t M) {
  const double m = static_cast<double>(M), s = static_cast<double>(states);
  switch (which) {
    case mixer_call::kla_forward:
      return 4 * m + 2 * s;
    case mixer_call::kla_backward:
      return 6 * m + 4 * s;
    case mixer_call::gla_forward:
      break;
  }
  return 2 * m + 2 * s;
}

template <class Policy>
compare_candidate host_call(const std::string& name, mixer_call which, const Policy& policy,
                            const std::shared_ptr<arrays<float>>& x, std::span<float> out) {
  return {name, [=] {
            auto run = kalscan::run_on_host([=] { call(which, policy, *x); });
            run.fetch = [=] {
              auto at = out.begin();
              for (auto* part : parts(which, *x)) {
                at = std::copy(part->begin(), part->end(), at);
                std::fill(part->begin(), part->end(),
                          std::numeric_limits<float>::quiet_NaN());  // the next run's to write
              }
            };
            return run;
          }};
}

/// The worst error of all parts against the sequential pass in long double.
std::function<std::optional<double>()> error_of(mixer_call which, std::int64_t L, std::int64_t M,
                                                std::span<float> out) {
  arrays<long double> exact(1, L, M, states);
  call(which, kalscan::seq{}, exact);
  std::vector<std::function<std::optional<double>()>> errors;
  std::size_t begin = 0;
  for (auto* part : parts(which, exact)) {
    const std::size_t size = part->size();
    errors.push_back(kalscan::relative_error(std::move(*part), out.subspan(begin, size)));
    begin += size;
  }
  return [errors] {
    double worst = 0;
    for (const auto& error : errors) worst = std::max(worst, error().value());
    return std::optional(worst);
  };
}

/// Each policy by name on one shape; `size` is what the rows call it.
std::vector<compare_row> compare_policies(mixer_call which, std::int64_t L, std::int64_t M, std::int64_t size,
                                          bool with_seq, const std::vector<std::pair<std::string, omp>>& policies,
                                          const std::vector<std::int64_t>& device_chunks,
                                          const kalscan::compare_options& options) {
  const auto x = std::make_shared<arrays<float>>(1, L, M, states);
  std::size_t numbers = 0;
  for (const auto* part : parts(which, *x)) numbers += part->size();
  std::vector<float> out(numbers);
  const kalscan::compare_work<float> work{.size = size,
                                          .bytes = 4 * numbers_a_step(which, M) * static_cast<double>(L),
                                          .out = out,
                                          .blank = std::numeric_limits<float>::quiet_NaN(),
                                          .error = error_of(which, L, M, out),
                                          .reference = "seq, long double"};
  std::vector<compare_candidate> candidates;
  if (with_seq) candidates.push_back(host_call("seq", which, kalscan::seq{}, x, out));
  for (const auto& [name, policy] : policies) candidates.push_back(host_call(name, which, policy, x, out));
  for (auto& c : device_mixer_calls(which, x, out, device_chunks)) candidates.push_back(std::move(c));
  return kalscan::compare_calls(work, candidates, options);
}

std::string omp_name(int threads, const std::string& more = "") {
  return "omp{" + std::to_string(threads) + more + "}";
}

void add_lengths(std::vector<task>& tasks, const settings& s, const std::string& name, mixer_call which,
                 double seconds) {
  for (std::int64_t L = 64; L <= (s.quick ? 4096 : 16384); L *= 4) {
    std::vector<std::pair<std::string, omp>> policies;
    for (const int n : kalscan::compared_threads()) policies.push_back({omp_name(n), omp{n}});
    const int all = kalscan::compared_threads().back();
    policies.push_back({omp_name(all) + " time split", omp{all, L / (all + 1) + 1}});
    const double seq = seconds * static_cast<double>(L * channels * states);
    tasks.push_back({name, L, 40 * seq + 3 * s.options.row_seconds, [=] {
                       return compare_policies(which, L, channels, L, true, policies, {0, L}, s.options);
                     }});
  }
}

/// M channels at a fixed M x L: at the left there is only time to split, at the right there are lanes enough.
void add_crossover(std::vector<task>& tasks, const settings& s) {
  const std::int64_t total = s.quick ? 1 << 17 : 1 << 20;
  const int all = kalscan::compared_threads().back();
  for (std::int64_t M = 1; M <= 256; M *= 4) {
    const std::int64_t L = total / M;
    tasks.push_back({"crossover", M, 1e-7 * static_cast<double>(total) * states + 3 * s.options.row_seconds, [=] {
                       return compare_policies(mixer_call::kla_forward, L, M, M, false,
                                               {{omp_name(1) + " whole lanes", omp{1, L}},
                                                {omp_name(all) + " whole lanes", omp{all, L}},
                                                {omp_name(all) + " time split", omp{all, L / (all + 1) + 1}},
                                                {omp_name(all) + " by default", omp{all}}},
                                               {0, L, std::max<std::int64_t>(128, L / 128)}, s.options);
                     }});
  }
}

}  // namespace

std::vector<task> mixer_tasks(const settings& s) {
  std::vector<task> tasks;
  add_lengths(tasks, s, "KLA forward", mixer_call::kla_forward, 1.2e-8);
  add_lengths(tasks, s, "KLA backward", mixer_call::kla_backward, 6e-8);
  add_lengths(tasks, s, "GLA forward", mixer_call::gla_forward, 4e-9);
  add_crossover(tasks, s);
  return tasks;
}

}  // namespace bench
