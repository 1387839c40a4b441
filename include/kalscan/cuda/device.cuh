// SPDX-License-Identifier: MIT
// The verbs of <kalscan/scan.hpp> on a whole device: the policy is kalscan::cuda. For one sequence over many devices
// include <kalscan/cuda/scan_ranks.cuh>.
//
// Ranges are contiguous and in device memory: std::span<T>(pointer, n), or a `sequences` view; so are the lists
// `initial` and `final`, one value a sequence. Elements, states and inputs are trivially copyable, at most 256 bytes;
// operators and recurrences are trivially copyable, with calls annotated KALSCAN_HD (__host__ __device__).
//
// Every verb enqueues its work in policy.stream and returns. It neither allocates nor waits, so it may be captured into
// a graph and replayed. Its workspace must have scan_workspace(...) bytes, for the longest call it serves. Unlike the
// host's, a verb returns nothing: the totals are written to `final`, in device memory, which may be `initial` of a
// later call, or of this one. `out` may be `in`. Wrong sizes, negative counts, host memory and a small workspace throw
// std::invalid_argument before anything is enqueued; what CUDA refuses throws kalscan::cuda_error.
//
// The bits are the same on every run and on every device: the order of all operations follows from shapes, strides and
// element sizes. Exact monoids give the bits of `seq`. With policy.chunk = c > 0 the order is that of omp{.chunk = c},
// and with c at least the length that of `seq`. The bits then agree too, in floating point, where both compilers keep
// products and sums apart (nvcc -fmad=false, g++ and clang++ -ffp-contract=off), the operator's functions are
// exactly rounded (+, -, *, /, sqrt), and no number of a chunk's element is subnormal or out of range: `omp` makes the
// former 0, and takes such a chunk step by step where it took the state out of range. It costs time: see bench/results.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <kalscan/cuda/scan/dispatch.cuh>
#include <ranges>
#include <span>
#include <type_traits>

namespace kalscan {
namespace detail {

/// A monoid as the recurrence of its plain scan; a recurrence as it is.
template <class X>
struct recurrence_of {
  using type = X;
};
template <monoid M>
struct recurrence_of<M> {
  using type = running<M>;
};

template <class T>
concept device_range = std::ranges::contiguous_range<T> && std::ranges::sized_range<T>;

template <class Range>
auto as_sequences(Range& range) {
  const auto n = static_cast<std::int64_t>(std::ranges::size(range));
  return sequences(std::ranges::data(range), 1, n, 1);
}

/// The rows of a view, mirrored in time for suffix scans.
template <class T>
device_rows<T> rows_of(const sequences<T>& x, bool mirrored) {
  T* first = mirrored && x.time > 0 ? x.data + (x.time - 1) * x.time_stride : x.data;
  std::int64_t stride = x.time == 1 ? 1 : x.time_stride;  // of a single step it does not matter
  return {first, x.lanes, x.batch_stride, mirrored ? -stride : stride, x.lane_stride};
}

template <emit Emit, scan_kind Kind, device_scan_policy P, device_recurrence R>
void scan_on_device(const char* verb, const P& policy, const R& r,
                    const std::type_identity_t<sequences<const typename R::input_type>>& in,
                    const std::type_identity_t<sequences<typename R::state_type>>& out,
                    std::span<const typename R::state_type> initial, const typename R::state_type& start,
                    std::span<typename R::state_type> final) {
  constexpr bool has_outputs = Emit != emit::nothing, goes_back = Kind == scan_kind::suffix;
  if constexpr (has_outputs) {
    require_same_shape(verb, in, out);
    require_device_memory(verb, "out", in.time > 0 ? out.data : nullptr);
  } else {
    require_valid(verb, "in", in);
  }
  const std::int64_t count = in.batch * in.lanes;
  if (!initial.empty()) require_size(verb, "initial", std::ssize(initial), count);
  if (!final.empty() || !has_outputs) require_size(verb, "final", std::ssize(final), count);
  require_device_memory(verb, "in", in.time > 0 ? in.data : nullptr);
  require_device_memory(verb, "initial", initial.empty() ? nullptr : initial.data());
  require_device_memory(verb, "final", final.empty() ? nullptr : final.data());
  const auto* list = initial.empty() ? nullptr : initial.data();
  auto* ends = final.empty() ? nullptr : final.data();
  if constexpr (has_outputs) {
    const auto to = rows_of(out, goes_back);
    run_on_device(verb, policy,
                  scan_arguments<Emit, R>{r, rows_of(in, goes_back), to, count, in.time, list, start, ends}, goes_back);
  } else {
    run_on_device(verb, policy,
                  scan_arguments<Emit, R>{r, rows_of(in, goes_back), {}, count, in.time, list, start, ends}, goes_back);
  }
}

template <emit Emit, scan_kind Kind, device_scan_policy P, device_monoid M>
void scan_monoid_on_device(const char* verb, const P& policy, const M& m, const elements_in<M>& in,
                           const elements_out<M>& out, values_in<M> initial, const element_t<M>& start,
                           values_out<M> final) {
  if constexpr (Kind == scan_kind::suffix) {
    scan_on_device<Emit, scan_kind::suffix>(verb, policy, running<reversed<M>>{{m}}, in, out, initial, start, final);
  } else {
    scan_on_device<Emit, scan_kind::prefix>(verb, policy, running<M>{m}, in, out, initial, start, final);
  }
}

}  // namespace detail

/// Bytes of workspace that suffice for every verb with this monoid (or recurrence) and policy, over `count` sequences
/// of `length` elements each, whatever their strides.
template <class MonoidOrRecurrence>
[[nodiscard]] std::size_t scan_workspace(const cuda& policy, const MonoidOrRecurrence&, std::int64_t length,
                                         std::int64_t count = 1) {
  if (length < 0) detail::bad_argument("scan_workspace", detail::text({"length is ", length}));
  if (count < 0) detail::bad_argument("scan_workspace", detail::text({"count is ", count}));
  using R = typename detail::recurrence_of<MonoidOrRecurrence>::type;
  const auto bytes = [&]<class Call>(std::type_identity<Call>) {
    std::size_t most = 0;
    for (const bool contiguous : {true, false}) {
      const auto by = detail::choose_algorithm<Call>(policy, count, length, contiguous);
      most = (std::max)(most, detail::algorithm_workspace<Call>(by, count, length));
    }
    return most;
  };
  return (std::max)(bytes(std::type_identity<detail::scan_arguments<detail::emit::after, R>>{}),
                  bytes(std::type_identity<detail::scan_arguments<detail::emit::nothing, R>>{}));
}

/// final[b * lanes + l] = initial, then sequence (b, l), combined.
template <detail::device_scan_policy P, detail::device_monoid M>
void reduce(const P& policy, const M& m, const detail::elements_in<M>& in, detail::values_out<M> final,
            detail::values_in<M> initial = {}) {
  detail::scan_monoid_on_device<detail::emit::nothing, detail::scan_kind::prefix>("reduce", policy, m, in, {}, initial,
                                                                                  m.identity(), final);
}
/// final[0] = initial, in[0], ..., in[n - 1] combined.
template <detail::device_scan_policy P, detail::device_monoid M, detail::device_range In>
void reduce(const P& policy, const M& m, In&& in, detail::values_out<M> final, const element_t<M>& initial) {
  detail::scan_monoid_on_device<detail::emit::nothing, detail::scan_kind::prefix>(
      "reduce", policy, m, detail::as_sequences(in), {}, {}, initial, final);
}
template <detail::device_scan_policy P, detail::device_monoid M, detail::device_range In>
void reduce(const P& policy, const M& m, In&& in, detail::values_out<M> final) {
  kalscan::reduce(policy, m, in, final, m.identity());
}

/// out[t] = initial, in[0], ..., in[t] combined.
template <detail::device_scan_policy P, detail::device_monoid M>
void inclusive_scan(const P& policy, const M& m, const detail::elements_in<M>& in,
                    const detail::elements_out<M>& out, detail::values_in<M> initial = {},
                    detail::values_out<M> final = {}) {
  detail::scan_monoid_on_device<detail::emit::after, detail::scan_kind::prefix>("inclusive_scan", policy, m, in, out,
                                                                                initial, m.identity(), final);
}
template <detail::device_scan_policy P, detail::device_monoid M, detail::device_range In, detail::device_range Out>
void inclusive_scan(const P& policy, const M& m, In&& in, Out&& out, const element_t<M>& initial) {
  detail::scan_monoid_on_device<detail::emit::after, detail::scan_kind::prefix>(
      "inclusive_scan", policy, m, detail::as_sequences(in), detail::as_sequences(out), {}, initial, {});
}
template <detail::device_scan_policy P, detail::device_monoid M, detail::device_range In, detail::device_range Out>
void inclusive_scan(const P& policy, const M& m, In&& in, Out&& out) {
  kalscan::inclusive_scan(policy, m, in, out, m.identity());
}

/// out[t] = initial, in[0], ..., in[t - 1] combined.
template <detail::device_scan_policy P, detail::device_monoid M>
void exclusive_scan(const P& policy, const M& m, const detail::elements_in<M>& in,
                    const detail::elements_out<M>& out, detail::values_in<M> initial = {},
                    detail::values_out<M> final = {}) {
  detail::scan_monoid_on_device<detail::emit::before, detail::scan_kind::prefix>("exclusive_scan", policy, m, in, out,
                                                                                 initial, m.identity(), final);
}
template <detail::device_scan_policy P, detail::device_monoid M, detail::device_range In, detail::device_range Out>
void exclusive_scan(const P& policy, const M& m, In&& in, Out&& out, const element_t<M>& initial) {
  detail::scan_monoid_on_device<detail::emit::before, detail::scan_kind::prefix>(
      "exclusive_scan", policy, m, detail::as_sequences(in), detail::as_sequences(out), {}, initial, {});
}
template <detail::device_scan_policy P, detail::device_monoid M, detail::device_range In, detail::device_range Out>
void exclusive_scan(const P& policy, const M& m, In&& in, Out&& out) {
  kalscan::exclusive_scan(policy, m, in, out, m.identity());
}

/// out[t] = in[t], ..., in[n - 1], initial combined.
template <detail::device_scan_policy P, detail::device_monoid M>
void inclusive_suffix_scan(const P& policy, const M& m, const detail::elements_in<M>& in,
                           const detail::elements_out<M>& out, detail::values_in<M> initial = {},
                           detail::values_out<M> final = {}) {
  detail::scan_monoid_on_device<detail::emit::after, detail::scan_kind::suffix>("inclusive_suffix_scan", policy, m, in,
                                                                                out, initial, m.identity(), final);
}
template <detail::device_scan_policy P, detail::device_monoid M, detail::device_range In, detail::device_range Out>
void inclusive_suffix_scan(const P& policy, const M& m, In&& in, Out&& out, const element_t<M>& initial) {
  detail::scan_monoid_on_device<detail::emit::after, detail::scan_kind::suffix>(
      "inclusive_suffix_scan", policy, m, detail::as_sequences(in), detail::as_sequences(out), {}, initial, {});
}
template <detail::device_scan_policy P, detail::device_monoid M, detail::device_range In, detail::device_range Out>
void inclusive_suffix_scan(const P& policy, const M& m, In&& in, Out&& out) {
  kalscan::inclusive_suffix_scan(policy, m, in, out, m.identity());
}

/// out[t] = in[t + 1], ..., in[n - 1], initial combined.
template <detail::device_scan_policy P, detail::device_monoid M>
void exclusive_suffix_scan(const P& policy, const M& m, const detail::elements_in<M>& in,
                           const detail::elements_out<M>& out, detail::values_in<M> initial = {},
                           detail::values_out<M> final = {}) {
  detail::scan_monoid_on_device<detail::emit::before, detail::scan_kind::suffix>("exclusive_suffix_scan", policy, m, in,
                                                                                 out, initial, m.identity(), final);
}
template <detail::device_scan_policy P, detail::device_monoid M, detail::device_range In, detail::device_range Out>
void exclusive_suffix_scan(const P& policy, const M& m, In&& in, Out&& out, const element_t<M>& initial) {
  detail::scan_monoid_on_device<detail::emit::before, detail::scan_kind::suffix>(
      "exclusive_suffix_scan", policy, m, detail::as_sequences(in), detail::as_sequences(out), {}, initial, {});
}
template <detail::device_scan_policy P, detail::device_monoid M, detail::device_range In, detail::device_range Out>
void exclusive_suffix_scan(const P& policy, const M& m, In&& in, Out&& out) {
  kalscan::exclusive_suffix_scan(policy, m, in, out, m.identity());
}

/// The states of a recurrence: out[t] is the state after in[0], ..., in[t] from `initial`.
template <detail::device_scan_policy P, detail::device_recurrence R>
void scan_states(const P& policy, const R& r,
                 const std::type_identity_t<sequences<const typename R::input_type>>& in,
                 const std::type_identity_t<sequences<typename R::state_type>>& out,
                 std::type_identity_t<std::span<const typename R::state_type>> initial,
                 std::type_identity_t<std::span<typename R::state_type>> final = {}) {
  detail::require_size("scan_states", "initial", std::ssize(initial), in.batch * in.lanes);
  detail::scan_on_device<detail::emit::after, detail::scan_kind::prefix>("scan_states", policy, r, in, out, initial, {},
                                                                         final);
}
template <detail::device_scan_policy P, detail::device_recurrence R, detail::device_range In, detail::device_range Out>
void scan_states(const P& policy, const R& r, In&& in, Out&& out, const typename R::state_type& initial) {
  detail::scan_on_device<detail::emit::after, detail::scan_kind::prefix>(
      "scan_states", policy, r, detail::as_sequences(in), detail::as_sequences(out), {}, initial, {});
}

// Operators that cannot be on a device, explained.
template <detail::device_scan_policy P, monoid M, class... Rest>
  requires(!detail::device_monoid<M>)
void reduce(const P&, const M&, Rest&&...) {
  detail::explain_on_device<M>();
}
template <detail::device_scan_policy P, monoid M, class... Rest>
  requires(!detail::device_monoid<M>)
void inclusive_scan(const P&, const M&, Rest&&...) {
  detail::explain_on_device<M>();
}
template <detail::device_scan_policy P, monoid M, class... Rest>
  requires(!detail::device_monoid<M>)
void exclusive_scan(const P&, const M&, Rest&&...) {
  detail::explain_on_device<M>();
}
template <detail::device_scan_policy P, monoid M, class... Rest>
  requires(!detail::device_monoid<M>)
void inclusive_suffix_scan(const P&, const M&, Rest&&...) {
  detail::explain_on_device<M>();
}
template <detail::device_scan_policy P, monoid M, class... Rest>
  requires(!detail::device_monoid<M>)
void exclusive_suffix_scan(const P&, const M&, Rest&&...) {
  detail::explain_on_device<M>();
}
template <detail::device_scan_policy P, recurrence R, class... Rest>
  requires(!detail::device_recurrence<R>)
void scan_states(const P&, const R&, Rest&&...) {
  detail::explain_on_device<R>();
}

}  // namespace kalscan
