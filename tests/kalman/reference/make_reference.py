# Made the files here and examples/data/*.csv: python3 make_reference.py
# (Python 3.11, numpy 2.4, statsmodels 0.15.0, mpmath 1.4.1)
# SPDX-License-Identifier: MIT
#
# Conventions: the initial state is that of the first observation; predicted[t] is given y[0..t-1], filtered[t] given y[0..t],
# smoothed[t] given all; llf[t] is log p(y[t] | y[0..t-1]), 0 where y[t] is missing.
# Diffuse: the limit, for kappa to infinity, of the prior N(0, kappa I), with (1/2) log kappa added to llf at each observation
# that removes one dimension of the diffuse part, that is (n/2) log kappa in all. A variance without a finite limit is inf.
import pathlib

import mpmath as mp
import numpy as np
import statsmodels.api as sm
from statsmodels.tsa.statespace.mlemodel import MLEModel

here = pathlib.Path(__file__).parent
data = here.parents[2] / "examples" / "data"
COMMAND = "python3 make_reference.py"
STATSMODELS = f"{COMMAND}, statsmodels 0.15.0"


def write(path, notes, header, rows, log_likelihood):
    with open(here / path, "w") as file:
        file.writelines(f"# {note}\n" for note in notes)
        file.write(f"# log_likelihood,{log_likelihood:.17g}\n{header}\n")
        for row in rows:
            file.write(",".join(f"{x:.17g}" for x in row) + "\n")


def smooth(y, F, H, Q, R, prior=None):
    """statsmodels; without a prior (mean, covariance) of the first state, exact diffuse."""
    model = MLEModel(y, k_states=len(F), k_posdef=len(F), loglikelihood_burn=0)
    model["transition"], model["design"], model["selection"] = F, H, np.eye(len(F))
    model["state_cov"], model["obs_cov"] = Q, R
    if prior:
        model.ssm.initialize_known(*(np.array(x, float) for x in prior))
    else:
        model.ssm.initialize_diffuse()
    return model.ssm.smooth()


def smooth_diffuse(y, F, H, Q, R, kappa=mp.mpf(10) ** 60, digits=220):
    """The Kalman filter and the Bryson-Frazier smoother from N(0, kappa I); y is scalar. The limit is off by O(1 / kappa).
    Per step: filtered mean, filtered covariance, smoothed mean, smoothed covariance, llf."""
    with mp.workdps(digits):
        F, H, Q, R = mp.matrix(F.tolist()), mp.matrix(H.tolist()), mp.matrix(Q.tolist()), mp.mpf(R)
        n = F.rows
        a, P, diffuse, forward, rows = mp.zeros(n, 1), kappa * mp.eye(n), n, [], []
        for value in y:
            if np.isnan(value):
                forward.append((a, P, None))
                rows.append([a, P, mp.mpf(0)])
            else:
                M = P * H.T
                f, e = (H * M)[0] + R, mp.mpf(float(value)) - (H * a)[0]
                K, llf = M / f, -(mp.log(2 * mp.pi * f) + e * e / f) / 2
                if f > mp.sqrt(kappa):
                    llf, diffuse = llf + mp.log(kappa) / 2, diffuse - 1
                forward.append((a, P, (e, f, K)))
                rows.append([a + K * e, P - K * M.T, llf])
            a, P = F * rows[-1][0], F * rows[-1][1] * F.T + Q
        assert diffuse == 0
        r, N = mp.zeros(n, 1), mp.zeros(n)
        for row, (a, P, update) in zip(reversed(rows), reversed(forward)):
            if update is None:
                r, N = F.T * r, F.T * N * F
            else:
                e, f, K = update
                L = F * (mp.eye(n) - K * H)
                r, N = H.T * e / f + L.T * r, H.T * H / f + L.T * N * L
            row[2:2] = [a + P * r, P - P * N * P]
            row[1] = row[1].apply(lambda x: x if abs(x) < mp.sqrt(kappa) else mp.sign(x) * mp.inf)
        return [[np.array(x.tolist(), float) if isinstance(x, mp.matrix) else float(x) for x in row] for row in rows]


# The series.
nile = sm.datasets.nile.load_pandas().data
with open(data / "nile.csv", "w") as file:
    file.write("year,flow\n")
    for year, flow in nile.values:
        file.write(f"{int(year)},{flow:g}\n")
co2 = sm.datasets.co2.load_pandas().data["co2"].asfreq("W-SAT")
with open(data / "co2.csv", "w") as file:
    file.write("date,co2\n")
    for date, value in co2.items():
        file.write(f"{date:%Y-%m-%d},{'' if np.isnan(value) else format(value, 'g')}\n")

# The local level of the Nile, with the variances of Durbin and Koopman.
nile_model = [[1.0]], [[1.0]], [[1469.1]], [[15099.0]]
HEADER = "t,filtered,filtered_var,predicted,predicted_var,smoothed,smoothed_var,llf"


def nile_rows(r):
    for t in range(r.nobs):
        diffuse = r.predicted_diffuse_state_cov is not None and r.predicted_diffuse_state_cov[0, 0, t] > 0
        yield (t, r.filtered_state[0, t], r.filtered_state_cov[0, 0, t], r.predicted_state[0, t],
               np.inf if diffuse else r.predicted_state_cov[0, 0, t], r.smoothed_state[0, t], r.smoothed_state_cov[0, 0, t],
               r.llf_obs[t])


r = smooth(nile["volume"].values, *nile_model, prior=([1000], [[1e5]]))
write("nile_proper.csv", [STATSMODELS, "prior of the first state: mean 1000, variance 1e5"], HEADER, nile_rows(r), r.llf)
write("nile.csv", [STATSMODELS], "t,filtered,filtered_var,smoothed,smoothed_var,llf",
      [row[:3] + row[5:] for row in nile_rows(r)], r.llf)
r = smooth(nile["volume"].values, *nile_model)
write("nile_diffuse.csv", [STATSMODELS, "exact diffuse, no burn-in"], HEADER, nile_rows(r), r.llf)

# Weekly CO2: level, slope, and two yearly harmonics. The variances are chosen, and larger in the slope than a maximum
# likelihood fit under the proper prior, with one variance per harmonic, finds:
# R = 0.086, Q = diag(0.019, 3.7e-8, 3.1e-5, 3.1e-5, 3.6e-6, 3.6e-6), log-likelihood -984.4.
F = np.zeros((6, 6))
F[:2, :2] = [[1, 1], [0, 1]]
for j in (1, 2):
    w = 2 * np.pi * j / (365.25 / 7)
    F[2 * j:2 * j + 2, 2 * j:2 * j + 2] = [[np.cos(w), np.sin(w)], [-np.sin(w), np.cos(w)]]
H = np.array([[1.0, 0, 1, 0, 1, 0]])
Q = np.diag([0.02, 1e-6, 1e-5, 1e-5, 1e-6, 1e-6])
HEADER = ("t,filtered_level,filtered_level_var,smoothed_level,smoothed_level_var,smoothed_signal,"
          "smoothed_signal_var,llf")


def co2_rows(steps):
    for t, (filtered, filtered_cov, smoothed, smoothed_cov, llf) in enumerate(steps):
        if t < 60 or t % 10 == 0:
            yield (t, *(x.item() for x in (filtered[0], filtered_cov[0, 0], smoothed[0], smoothed_cov[0, 0], H @ smoothed,
                                           H @ smoothed_cov @ H.T)), llf)


r = smooth(co2.values, F, H, Q, [[0.06]], prior=([315, 0, 0, 0, 0, 0], np.diag([100, 0.01, 10, 10, 10, 10])))
steps = [(r.filtered_state[:, t], r.filtered_state_cov[:, :, t], r.smoothed_state[:, t], r.smoothed_state_cov[:, :, t],
          r.llf_obs[t]) for t in range(r.nobs)]
write("co2_proper.csv", [STATSMODELS, "prior of the first state: mean [315,0,0,0,0,0], covariance diag(100,0.01,10,10,10,10)"],
      HEADER, co2_rows(steps), r.llf)
write("co2.csv", [STATSMODELS], HEADER, co2_rows(steps), r.llf)

steps = smooth_diffuse(co2.values, F, H, Q, 0.06)
write("co2_diffuse.csv",
      [f"{COMMAND}, mpmath 1.4.1 with 220 digits: the exact diffuse limit, as the prior N(0, kappa I), kappa = 1e60",
       "not statsmodels, whose exact diffuse filter never leaves the diffuse phase here: its smoothed variances are wrong by "
       "orders of magnitude, or negative, in the first weeks"],
      HEADER, co2_rows(steps), sum(step[-1] for step in steps))

# A random model with two correlated components, of which one or both may be missing.
rng = np.random.default_rng(1)


def covariance(n):
    A = rng.standard_normal((n, n))
    return A @ A.T + 0.1 * np.eye(n)


n, m, T = 3, 2, 30
F = rng.standard_normal((n, n))
F *= 0.9 / abs(np.linalg.eigvals(F)).max()
H, Q, R, m0, P0 = rng.standard_normal((m, n)), covariance(n), covariance(m), rng.standard_normal(n), covariance(n)
state, y = rng.multivariate_normal(m0, P0), np.empty((m, T))
for t in range(T):
    y[:, t] = rng.multivariate_normal(H @ state, R)
    state = rng.multivariate_normal(F @ state, Q)
y[0, [3, 7, 8, 20]] = np.nan
y[1, [0, 5, 9, 21, 29]] = np.nan
y[:, [10, 11, 17, 28]] = np.nan
r = smooth(y.T, F, H, Q, R, prior=(m0, P0))
with open(here / "random_missing.txt", "w") as file:  # name, rows, columns, and the values row by row
    for name, x in {"F": F, "Q": Q, "H": H, "R": R, "m0": m0[:, None], "P0": P0, "y": y, "filtered_mean": r.filtered_state,
                    "filtered_cov": r.filtered_state_cov.reshape(n * n, T).T, "smoothed_mean": r.smoothed_state,
                    "smoothed_cov": r.smoothed_state_cov.reshape(n * n, T).T, "llf": r.llf_obs[None, :]}.items():
        file.write(f"{name} {x.shape[0]} {x.shape[1]} " + " ".join(f"{v:.17g}" for v in x.ravel()) + "\n")
