/* SPDX-License-Identifier: MIT */
/* The level of the Nile, smoothed through the C interface. ../README.md says how to compile this. */
#include <math.h>
#include <stdio.h>

#include "kalscan.h"

int main(void) {
  double one = 1, q = 1469.1, r = 15099, y[] = {1120, 1160, 963, NAN, 1160}, mean[5], variance[5], sum;
  int64_t matrix[] = {1, 1}, series[] = {5, 1}, covariances[] = {5, 1, 1}, scalar[] = {1};
  const DLTensor F = kalscan_host_array(&one, kDLFloat, 64, 2, matrix),
                 Q = kalscan_host_array(&q, kDLFloat, 64, 2, matrix),
                 R = kalscan_host_array(&r, kDLFloat, 64, 2, matrix),
                 Y = kalscan_host_array(y, kDLFloat, 64, 2, series),
                 M = kalscan_host_array(mean, kDLFloat, 64, 2, series),
                 P = kalscan_host_array(variance, kDLFloat, 64, 3, covariances),
                 L = kalscan_host_array(&sum, kDLFloat, 64, 1, scalar);
  const kalscan_model level = {.F = &F, .Q = &Q, .H = &F, .R = &R}; /* no prior: diffuse */
  const kalscan_beliefs smoothed = {.mean = &M, .covariance = &P};
  const kalscan_filtered filtered = {.log_likelihood = &L};

  if (kalscan_smooth(&level, &Y, NULL, &smoothed, &filtered, NULL) != KALSCAN_OK) return puts(kalscan_last_error()), 1;
  for (int t = 0; t < 5; ++t) printf("%.1f +- %.1f\n", mean[t], sqrt(variance[t]));
  printf("log-likelihood %.4f\n", sum);
  return fabs(mean[3] - 1099.3433) > 1e-3 || fabs(sum + 19.7808) > 1e-3;
}
