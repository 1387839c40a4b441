// SPDX-License-Identifier: MIT
// The level of the Nile at Aswan, 1871-1970: local level model, exactly diffuse prior. Usage: 02_nile_filter DATA OUTPUT
#include "report.hpp"

int main(int argc, char** argv) try {
  if (argc != 3) throw std::invalid_argument("usage: 02_nile_filter nile.csv output.csv");
  const series nile = read_series(argv[1]);
  auto model = nile_model();
  model.prior = kalscan::gaussian_prior<double, 1>::all_diffuse();
  std::cout << "Nile: " << nile.value.cols() << " years\n";
  const auto s = smooth_on_both(model, nile);
  const auto& f = s.filtered;

  auto file = create(argv[2]);
  file << "year,flow,filtered,filtered_sd,smoothed,smoothed_sd\n";
  for (Eigen::Index t = 0; t < nile.value.cols(); ++t) {
    const auto i = static_cast<std::size_t>(t);
    file << nile.time[i] << ',' << nile.value(0, t) << ',' << f.mean(0, t) << ',' << std::sqrt(f.covariance[i](0, 0)) << ','
         << s.mean(0, t) << ',' << std::sqrt(s.covariance[i](0, 0)) << '\n';
  }
  const double predicted = f.predicted_covariance.back()(0, 0), filtered = f.covariance.back()(0, 0);
  std::cout << "  log-likelihood " << f.log_likelihood << '\n'
            << "  level of 1970: filtered " << f.mean(0, 99) << ", of 1898: smoothed " << s.mean(0, 27) << '\n'
            << "  steady state: variance predicted " << predicted << " (5501 expected), filtered " << filtered
            << " (4032 expected)\n";
  if (std::abs(predicted - 5501) > 1 || std::abs(filtered - 4032) > 1) throw std::runtime_error("no steady state");
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
