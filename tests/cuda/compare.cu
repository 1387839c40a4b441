// SPDX-License-Identifier: MIT
// The device's back ends in kalscan::compare: right, repeatable and timed where there is a device; a wrong one is told.
#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <kalscan/compare.hpp>
#include <kalscan/cuda/compare.cuh>
#include <kalscan/monoids/affine.hpp>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace {

using monoid = kalscan::affine_monoid<std::uint32_t>;

kalscan::affine_map<std::uint32_t> draw(std::mt19937_64& engine) {
  return {static_cast<std::uint32_t>(engine()), static_cast<std::uint32_t>(engine())};
}

const kalscan::compare_options quick{.repetitions = 3, .sample_seconds = 0, .threads = {1}, .laws = {.trials = 10}};

TEST_CASE("every scope and CUB give the left fold, bit for bit, at lengths around a tile, and are timed") {
  const auto rows = kalscan::compare(monoid{}, draw, kalscan::exact, {1, 31, 1023, 1024, 1025, 100003}, quick,
                                     kalscan::cuda_back_ends(monoid{}));
  CHECK(rows.size() == 6 * 8);
  for (const auto& r : rows) {
    CAPTURE(r.back_end);
    CAPTURE(r.size);
    CHECK(r.missing == "");
    CHECK(r.error.value() == 0);
    CHECK(r.repeatable);
    CHECK(r.median > 0);
  }
}

TEST_CASE("a device back end that writes nothing does not pass with the result of the one before it") {
  const auto shared = std::make_shared<std::weak_ptr<kalscan::detail::device_scan<monoid>>>();
  const auto device = [&](const char* name, auto start) {
    return kalscan::detail::device_back_end<monoid>(name, shared, start);
  };
  const auto rows = kalscan::compare(
      monoid{}, draw, kalscan::exact, {1000}, quick,
      {device("right", kalscan::detail::device_verb<monoid>(kalscan::cuda{})),
       device("lazy",
              [](const kalscan::scan_call<monoid>&, const kalscan::detail::device_scan<monoid>&) { return [] {}; })});
  CHECK(rows[rows.size() - 2].error.value() == 0);
  CHECK(rows.back().error.value() == std::numeric_limits<double>::infinity());
}

using large = std::array<std::uint32_t, 65>;
struct sum_of_large {
  KALSCAN_HD static constexpr large identity() { return {}; }
  KALSCAN_HD constexpr large operator()(const large& x, const large& y) const {
    large sum = x;
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += y[i];
    return sum;
  }
};

TEST_CASE("elements that are too large for the device are a row with the reason") {
  const auto draw_large = [](std::mt19937_64& engine) { return large{static_cast<std::uint32_t>(engine())}; };
  const auto rows = kalscan::compare(sum_of_large{}, draw_large, kalscan::exact, {10}, quick,
                                     kalscan::cuda_back_ends(sum_of_large{}));
  CHECK(rows.back().missing.find("at most 256 bytes") != std::string::npos);
  CHECK(rows.front().error.value() == 0);
}

}  // namespace
