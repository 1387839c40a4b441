// SPDX-License-Identifier: MIT
// A KLA layer that predicts the next byte of a text and learns only by filtering: the keys are fixed random features,
// one bucket for each of the last one, two and three bytes, and nothing is trained. Each lane (byte, bucket) estimates
// how often that byte follows that bucket. Usage: 05_text TEXT OUTPUT [bytes]
#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <iostream>
#include <iterator>
#include <kalscan/kalscan.hpp>
#include <random>
#include <string>
#include <vector>

using kalscan::tensor;

constexpr std::int64_t bytes = 128;  // channels: ASCII
constexpr std::array<std::uint32_t, 3> buckets{64, 320, 640};
constexpr std::int64_t features = 64 + 320 + 640;
constexpr std::array<float, 3> weight{0.1F, 0.3F, 0.6F};  // of the three estimates in a prediction
constexpr std::int64_t chunk = 256;

/// The key of a context: one feature on for each order. Random but fixed: a multiplicative hash with drawn multipliers.
struct random_features {
  std::array<std::uint32_t, 3> multiplier;
  random_features() {
    std::mt19937 engine(1);
    for (auto& m : multiplier) m = static_cast<std::uint32_t>(engine()) | 1U;
  }
  void write(const std::string& text, std::size_t next, float* key, float* query) const {
    std::uint32_t context = 0, first = 0;
    for (std::size_t order = 1; order <= 3; ++order) {
      context = context << 8 | static_cast<unsigned char>(next >= order ? text[next - order] : ' ');
      const std::uint32_t hash = context * multiplier[order - 1];
      const std::uint32_t on = first + static_cast<std::uint32_t>((std::uint64_t(hash) * buckets[order - 1]) >> 32);
      if (key) key[on] = 1;
      if (query) query[on] = weight[order - 1];
      first += buckets[order - 1];
    }
  }
};

/// What a model that knows only how often each byte came says of the next one.
class order_0 {
 public:
  double bits(unsigned char byte) {
    const double p = (count_[byte] + 0.5) / (total_ + 0.5 * bytes);
    ++count_[byte], ++total_;
    return -std::log2(p);
  }

 private:
  std::array<double, bytes> count_{};
  double total_ = 0;
};

int main(int argc, char** argv) try {
  if (argc != 3 && argc != 4) throw std::invalid_argument("usage: 05_text text.txt output.csv [bytes]");
  std::ifstream file(argv[1]);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  if (argc == 4) text.resize(std::min<std::size_t>(text.size(), std::stoul(argv[3])));
  if (text.size() < 2) throw std::runtime_error(std::string("cannot read ") + argv[1]);
  for (const char c : text) {
    if (static_cast<unsigned char>(c) >= bytes) throw std::runtime_error("the text is not ASCII");
  }
  std::ofstream table(argv[2]);
  if (!table) throw std::runtime_error(std::string("cannot write ") + argv[2]);
  table << "bytes,bits,order_0_bits,standard_deviation\n";

  // An estimate drifts little (p), starts near 1 / bytes, and an observation weighs as two thousandths of variance
  // would.
  float decay = 1, drift = 1e-9F, precision = 20;
  std::vector<float> mean(bytes * features, 1.0F / bytes), variance(mean.size(), 0.1F);
  std::vector<float> v(chunk * bytes), k(chunk * features), q(chunk * features), y(v.size()), yvar(v.size());
  const kalscan::belief<tensor<float>> state{{mean.data(), 1, 1, bytes, features},
                                             {variance.data(), 1, 1, bytes, features}};
  const random_features key;
  order_0 counts;
  double bits = 0, order_0_bits = 0, seconds = 0, first_deviation = 0, deviation = 0;
  std::size_t predicted = 0;
  for (std::size_t start = 0; start + 1 < text.size(); start += chunk) {
    const auto n = static_cast<std::int64_t>(std::min<std::size_t>(chunk, text.size() - 1 - start));
    std::fill(v.begin(), v.end(), 0.0F), std::fill(k.begin(), k.end(), 0.0F), std::fill(q.begin(), q.end(), 0.0F);
    for (std::int64_t t = 0; t < n; ++t) {  // token t learns byte t from its context and is asked for byte t + 1
      const std::size_t at = start + static_cast<std::size_t>(t);
      v[static_cast<std::size_t>(t * bytes + text[at])] = 1;
      key.write(text, at, &k[static_cast<std::size_t>(t * features)], nullptr);
      key.write(text, at + 1, nullptr, &q[static_cast<std::size_t>(t * features)]);
    }
    const auto began = std::chrono::steady_clock::now();
    const kalscan::kla_inputs<tensor<const float>> in{
        {v.data(), 1, n, bytes, 1},    {&precision, {1, n, bytes, 1}, {0, 0, 0, 0}},
        {k.data(), 1, n, 1, features}, {q.data(), 1, n, 1, features},
        {&decay, 1, 1, 1, 1},          {&drift, 1, 1, 1, 1}};
    const kalscan::kla_outputs<tensor<float>> out{{y.data(), 1, n, bytes, 1}, {yvar.data(), 1, n, bytes, 1}};
    kalscan::forward(kalscan::omp{}, kalscan::kla{}, {1, n, bytes, features}, in, out,
                     {.initial = state, .final = state});
    seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();

    double chunk_bits = 0, chunk_order_0 = 0, chunk_deviation = 0;
    for (std::int64_t t = 0; t < n; ++t) {
      const float* estimate = &y[static_cast<std::size_t>(t * bytes)];
      const auto byte = static_cast<unsigned char>(text[start + static_cast<std::size_t>(t) + 1]);
      double sum = 0;  // estimates may be slightly negative: they are means, not probabilities
      for (std::int64_t c = 0; c < bytes; ++c) sum += std::max(estimate[c], 0.0F);
      const double p = sum > 0 ? 0.98 * std::max(estimate[byte], 0.0F) / sum + 0.02 / bytes : 1.0 / bytes;
      chunk_bits -= std::log2(p);
      chunk_order_0 += counts.bits(byte);
      chunk_deviation += std::sqrt(yvar[static_cast<std::size_t>(t * bytes + byte)]);
    }
    bits += chunk_bits, order_0_bits += chunk_order_0, predicted += static_cast<std::size_t>(n);
    deviation = chunk_deviation / static_cast<double>(n);
    if (start == 0) first_deviation = deviation;
    table << predicted << ',' << chunk_bits / static_cast<double>(n) << ',' << chunk_order_0 / static_cast<double>(n)
          << ',' << deviation << '\n';
  }
  const auto count = static_cast<double>(predicted);
  std::cout << "text: " << predicted << " bytes predicted, each from what came before it\n"
            << "  " << bits / count << " bits a byte; a count of single bytes takes " << order_0_bits / count << '\n'
            << "  the estimates' standard deviation falls from " << first_deviation << " to " << deviation << '\n'
            << "  " << count / seconds << " tokens a second through " << bytes << " x " << features << " lanes\n"
            << "  This shows the filter learning online, with its uncertainty: not a language model. Three context "
               "counts, mixed\n"
            << "  by fixed weights, say as much; a trained layer would learn keys, queries and noise.\n";
  if (!(bits < order_0_bits)) throw std::runtime_error("the filter predicts no better than single bytes do");
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
