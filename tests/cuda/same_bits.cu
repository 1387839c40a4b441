// SPDX-License-Identifier: MIT
// With the chunk fixed, omp and cuda combine in the same order: the same bits in floating point, since this file is
// compiled without contraction on both sides (-fmad=false, -ffp-contract=off).
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <kalscan/backend/omp.hpp>
#include <kalscan/backend/seq.hpp>
#include <kalscan/cuda/device.cuh>
#include <kalscan/kalman/scalar/filter.hpp>
#include <kalscan/kalman/scalar/filtering_element.hpp>
#include <random>
#include <vector>

#include "device_array.hpp"

namespace {

template <class T>
bool same_bits(const std::vector<T>& x, const std::vector<T>& y) {
  return x.size() == y.size() && std::memcmp(x.data(), y.data(), x.size() * sizeof(T)) == 0;
}

TEST_CASE("omp and cuda with one chunk length, and seq and cuda with whole rows, agree in every bit") {
  using monoid = kalscan::filtering_monoid<float>;
  using element = kalscan::filtering_element<float>;
  const kalscan::scalar_filter<float> filter{0.97f, 0.02f};
  std::mt19937_64 engine(2);
  std::normal_distribution<float> normal;
  for (const std::int64_t n : {1, 63, 64, 65, 5000, 100'003}) {
    for (const std::int64_t chunk : {std::int64_t{64}, std::int64_t{1000}, std::int64_t{1} << 40}) {
      CAPTURE(n);
      CAPTURE(chunk);
      std::vector<kalscan::scalar_observation<float>> u(static_cast<std::size_t>(n));
      std::vector<element> x(u.size()), expected(u.size()), suffix(u.size()), total(1);
      for (std::size_t t = 0; t < u.size(); ++t) {
        u[t] = {std::abs(normal(engine)), normal(engine)};
        x[t] = filter.lift(u[t]);
      }
      std::vector<kalscan::belief<float>> states(u.size());
      const auto host = [&](const auto& p) {
        kalscan::inclusive_scan(p, monoid{}, x, expected);
        kalscan::exclusive_suffix_scan(p, monoid{}, x, suffix);
        kalscan::scan_states(p, filter, u, states, {0.5f, 2.0f});
        total[0] = kalscan::reduce(p, monoid{}, x);
      };
      chunk < n ? host(kalscan::omp{2, chunk}) : host(kalscan::seq{});

      const kalscan::cuda policy{.chunk = chunk};
      const kalscan::cuda_workspace memory(kalscan::scan_workspace(policy, monoid{}, n));
      const kalscan::cuda p{.workspace = memory, .chunk = chunk};
      const device_array<element> in(x), out(x.size()), sum(1);
      const device_array<kalscan::scalar_observation<float>> inputs(u);
      const device_array<kalscan::belief<float>> beliefs(u.size());
      kalscan::inclusive_scan(p, monoid{}, in.span(), out.span());
      CHECK(same_bits(out.host(), expected));
      kalscan::exclusive_suffix_scan(p, monoid{}, in.span(), out.span());
      CHECK(same_bits(out.host(), suffix));
      kalscan::scan_states(p, filter, inputs.span(), beliefs.span(), {0.5f, 2.0f});
      CHECK(same_bits(beliefs.host(), states));
      kalscan::reduce(p, monoid{}, in.span(), sum.span());
      CHECK(same_bits(sum.host(), total));
    }
  }
}

}  // namespace
