// SPDX-License-Identifier: MIT
// Weekly CO2 at Mauna Loa, 1958-2001, with its missing weeks filled: local linear trend and two yearly harmonics (n = 6),
// exactly diffuse prior. Usage: 03_co2_smoother DATA OUTPUT
#include <algorithm>

#include "report.hpp"

int main(int argc, char** argv) try {
  if (argc != 3) throw std::invalid_argument("usage: 03_co2_smoother co2.csv output.csv");
  const series co2 = read_series(argv[1]);
  auto model = co2_model();
  model.prior = kalscan::gaussian_prior<double, 6>::all_diffuse();
  std::cout << "CO2: " << co2.value.cols() << " weeks\n";
  const auto s = smooth_on_both(model, co2);

  auto file = create(argv[2]);
  file << "week,observed,level,level_sd,signal,signal_sd\n";
  const auto& H = model.H[0];
  int missing = 0;
  double widest = 0;
  for (Eigen::Index t = 0; t < co2.value.cols(); ++t) {
    const auto i = static_cast<std::size_t>(t);
    const double signal = (H * s.mean.col(t))(0), signal_sd = std::sqrt((H * s.covariance[i] * H.transpose())(0, 0));
    const bool gap = std::isnan(co2.value(0, t));
    if (gap) ++missing, widest = std::max(widest, 1.96 * signal_sd);
    file << co2.time[i] << ',' << (gap ? "" : std::to_string(co2.value(0, t))) << ',' << s.mean(0, t) << ','
         << std::sqrt(s.covariance[i](0, 0)) << ',' << signal << ',' << signal_sd << '\n';
  }
  const Eigen::Index last = co2.value.cols() - 1;
  std::cout << "  log-likelihood " << s.filtered.log_likelihood << '\n'
            << "  " << missing << " missing weeks filled, the least certain within " << widest << " ppm (95%)\n"
            << "  level of " << co2.time.back() << ": " << s.mean(0, last) << " +- "
            << 1.96 * std::sqrt(s.covariance.back()(0, 0)) << " ppm (95%), rising " << 52.18 * s.mean(1, last)
            << " ppm a year\n";
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
