// SPDX-License-Identifier: MIT
// The conformance suite of the host's back ends, over the CUDA policy: every call goes to the device and back.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <kalscan/cuda/device.cuh>
#include <optional>
#include <ranges>
#include <span>
#include <vector>

#include "../conformance/operators.hpp"
#include "device_array.hpp"

namespace {

using call = kalscan::detail::scan_arguments<kalscan::detail::emit::after, kalscan::running<monoid>>;
constexpr std::int64_t warp_tile = kalscan::detail::contiguous_tile<call, 32>::size;
constexpr std::int64_t tile = kalscan::detail::contiguous_tile<call, kalscan::detail::long_tile_threads<call>>::size;
constexpr std::int64_t more_lengths[] = {31,          32,          33,       255,           256,           257,
                                         warp_tile - 1, warp_tile,   warp_tile + 1, tile - 1,  tile,          tile + 1,
                                         2 * tile + 1, 32 * tile - 1, 32 * tile, 32 * tile + 1, 1024 * tile + 1};
// Around warps of rows, turns of steps, and the limits between the kernels.
constexpr shape more_shapes[] = {{1, 64, 33},  {2, 63, 31},   {1, 1, 40},    {5, 1031, 1},  {1, 5000, 3},
                                 {1, 130, 2048}, {2, 65, 1100}, {1, 64, 2079}, {2, 9000, 2}, {1, 0, 3}};

template <class Check>
void for_each_policy(Check check) {
  for (const std::int64_t steps : {std::int64_t{0}, std::int64_t{1} << 40, chunk, std::int64_t{701}}) {
    CAPTURE(steps);
    check(kalscan::cuda{.chunk = steps});
  }
}

/// Copies of host arrays on the device, once for each array: an output that is the input stays so.
template <class P>
struct device_calls {
  P policy;

  template <class M, class Verb>
  auto one(const M& m, std::size_t n, Verb verb) const {
    const kalscan::cuda_workspace memory(kalscan::scan_workspace(policy, m, static_cast<std::int64_t>(n)));
    P p = policy;
    p.workspace = memory;
    verb(p);
    require_cuda(cudaDeviceSynchronize());
  }

  template <class M, class In, class Out, class Scan>
  auto range(const M& m, const std::vector<In>& in, std::vector<Out>& out, const std::optional<Out>& initial,
             Scan scan) const {
    const bool in_place = static_cast<const void*>(&in) == static_cast<const void*>(&out);
    const device_array<In> from(in, in.size() % 2 * alignof(In));  // off the wide alignment now and then
    const device_array<Out> to(out), total(1);
    const auto n = static_cast<std::int64_t>(in.size());
    Out* const target = in_place ? reinterpret_cast<Out*>(from.data()) : to.data();
    one(m, in.size(), [&](const P& p) {
      // Once as one range, where no total is asked for, and once as a view, for its total.
      if (!in_place) {
        if (initial) scan(p, std::span<const In>(from.data(), in.size()), to.span(), *initial);
        if constexpr (kalscan::monoid<M>) {
          if (!initial) scan(p, std::span<const In>(from.data(), in.size()), to.span());
        }
        out = to.host();
      }
      std::vector<Out> start;
      if (initial) start.push_back(*initial);
      const device_array<Out> list(start);
      scan(p, kalscan::sequences<const In>(from.data(), 1, n, 1), kalscan::sequences<Out>(target, 1, n, 1),
           std::span<const Out>(list.span()), total.span());
      require_cuda(cudaDeviceSynchronize());
    });
    std::vector<Out> result(in.size());
    require_cuda(cudaMemcpy(result.data(), target, in.size() * sizeof(Out), cudaMemcpyDeviceToHost));
    if (!in_place) CHECK(std::memcmp(result.data(), out.data(), in.size() * sizeof(Out)) == 0);
    out = result;
    return total.host()[0];
  }

  /// A [batch, time, lane] view whose array begins at its data pointer, with its padding.
  template <class M, class Scan>
  void view(const M& m, const kalscan::sequences<const map>& in, const kalscan::sequences<map>* out,
            std::span<const map> initial, std::span<map> final, Scan scan) const {
    const auto size = [](const auto& s) { return static_cast<std::size_t>(std::max<std::int64_t>(s.batch * s.batch_stride, 0)); };
    const std::vector<map> all(in.data, in.data + size(in));
    const device_array<map> from(all), to(out ? std::vector<map>(out->data, out->data + size(*out)) : std::vector<map>{});
    const device_array<map> starts(std::vector<map>(initial.begin(), initial.end()));
    const device_array<map> ends(std::vector<map>(final.begin(), final.end()));
    const kalscan::cuda_workspace memory(kalscan::scan_workspace(policy, m, in.time, in.batch * in.lanes));
    P p = policy;
    p.workspace = memory;
    auto device_in = in;
    device_in.data = from.data();
    auto device_out = out ? *out : kalscan::sequences<map>{};
    device_out.data = to.data();
    const bool same_list = !initial.empty() && initial.data() == final.data();
    scan(p, device_in, device_out, std::span<const map>(same_list ? ends.span() : starts.span()), ends.span());
    require_cuda(cudaDeviceSynchronize());
    if (out) std::ranges::copy(to.host(), out->data);
    std::ranges::copy(ends.host(), final.begin());
  }

  template <class M>
  map inclusive_scan(const M& m, const std::vector<map>& in, std::vector<map>& out, const std::optional<map>& initial = {}) const {
    return range(m, in, out, initial, [&](const P& p, const auto&... x) { kalscan::inclusive_scan(p, m, x...); });
  }
  template <class M>
  void inclusive_scan(const M& m, const kalscan::sequences<const map>& in, const kalscan::sequences<map>& out,
      std::span<const map> initial = {}, std::span<map> final = {}) const {
    view(m, in, &out, initial, final, [&](const P& p, const auto&... x) { kalscan::inclusive_scan(p, m, x...); });
  }
  template <class M>
  map exclusive_scan(const M& m, const std::vector<map>& in, std::vector<map>& out, const std::optional<map>& initial = {}) const {
    return range(m, in, out, initial, [&](const P& p, const auto&... x) { kalscan::exclusive_scan(p, m, x...); });
  }
  template <class M>
  void exclusive_scan(const M& m, const kalscan::sequences<const map>& in, const kalscan::sequences<map>& out,
      std::span<const map> initial = {}, std::span<map> final = {}) const {
    view(m, in, &out, initial, final, [&](const P& p, const auto&... x) { kalscan::exclusive_scan(p, m, x...); });
  }
  template <class M>
  map inclusive_suffix_scan(const M& m, const std::vector<map>& in, std::vector<map>& out, const std::optional<map>& initial = {}) const {
    return range(m, in, out, initial, [&](const P& p, const auto&... x) { kalscan::inclusive_suffix_scan(p, m, x...); });
  }
  template <class M>
  void inclusive_suffix_scan(const M& m, const kalscan::sequences<const map>& in, const kalscan::sequences<map>& out,
      std::span<const map> initial = {}, std::span<map> final = {}) const {
    view(m, in, &out, initial, final, [&](const P& p, const auto&... x) { kalscan::inclusive_suffix_scan(p, m, x...); });
  }
  template <class M>
  map exclusive_suffix_scan(const M& m, const std::vector<map>& in, std::vector<map>& out, const std::optional<map>& initial = {}) const {
    return range(m, in, out, initial, [&](const P& p, const auto&... x) { kalscan::exclusive_suffix_scan(p, m, x...); });
  }
  template <class M>
  void exclusive_suffix_scan(const M& m, const kalscan::sequences<const map>& in, const kalscan::sequences<map>& out,
      std::span<const map> initial = {}, std::span<map> final = {}) const {
    view(m, in, &out, initial, final, [&](const P& p, const auto&... x) { kalscan::exclusive_suffix_scan(p, m, x...); });
  }
  template <class R, class U, class S>
  S scan_states(const R& r, const std::vector<U>& in, std::vector<S>& out, const S& initial) const {
    return range(r, in, out, std::optional<S>(initial), [&](const P& p, const auto&... x) { kalscan::scan_states(p, r, x...); });
  }
  template <class M>
  map reduce(const M& m, const std::vector<map>& in, const map& initial) const {
    const device_array<map> from(in), total(1);
    one(m, in.size(), [&](const P& p) { kalscan::reduce(p, m, from.span(), total.span(), initial); });
    return total.host()[0];
  }
  template <class M>
  void reduce(const M& m, const kalscan::sequences<const map>& in, std::span<map> final, std::span<const map> initial) const {
    view(m, in, nullptr, initial, final,
         [&](const P& p, const auto& from, const auto&, const auto& starts, const auto& ends) { kalscan::reduce(p, m, from, ends, starts); });
  }
};
template <class P>
device_calls<P> on(const P& policy) {
  return {policy};
}

}  // namespace

#include "../conformance/suite.hpp"
