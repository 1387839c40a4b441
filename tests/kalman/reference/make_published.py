# Made published/*.txt: python3 make_published.py DIRECTORY, where DIRECTORY holds the unpacked wheel of statsmodels 0.14.5
# (pip download --no-deps statsmodels==0.14.5). No other package is needed: nothing here filters.
# SPDX-License-Identifier: MIT
#
# Each file is a model, a series, and what another package or a paper says of it. Lines: `name rows columns values`, row by
# row; H with rows = m x length holds one H a step. `expect NAME INDEX FIRST values`: what was published for the entry INDEX
# (of a covariance: row x n + column) at the steps FIRST, FIRST + 1, ... of predicted_mean, predicted_covariance,
# predicted_y, filtered_mean, filtered_covariance, smoothed_mean, smoothed_covariance; for log_likelihood the sum of the
# terms from step FIRST on. `nan` was not published or is wrong there, as the file says. Each number holds to half a unit of
# its last digit, unless `within X` precedes the values, for a reason that the file gives. Where the source prints all the 15
# digits or so of a double, ten are kept.
import csv
import math
import pathlib
import sys

here = pathlib.Path(__file__).parent
examples = here.parents[2] / "examples" / "data"
statsmodels = pathlib.Path(sys.argv[1]) / "statsmodels"
results = statsmodels / "tsa" / "statespace" / "tests" / "results"
SM = "statsmodels 0.14.5 (BSD-3-Clause), statsmodels/tsa/statespace/tests/results/"
HALF_LOG_2PI = math.log(2 * math.pi) / 2


def table(path):
    with open(path) as file:
        return list(csv.DictReader(file))


def module(name):
    values = {}
    exec((results / name).read_text(), values)
    return values


def rounded(values, digits=10):
    """With as many decimals for all as give the largest so many digits."""
    values = [float(x) for x in values]
    decimals = digits - 1 - math.floor(math.log10(max(abs(x) for x in values if x == x) or 1))
    return [f"{x:.{max(decimals, 0)}f}" for x in values]


def short(x):
    return repr(int(x)) if x == int(x if x == x else 0) else repr(float(x))


def identity(n, factor=1.0):
    return [[factor * (i == j) for j in range(n)] for i in range(n)]


def diagonal(*values):
    return [[x * (i == j) for j in range(len(values))] for i, x in enumerate(values)]


def zeros(rows, columns):
    return [[0.0] * columns for _ in range(rows)]


def times(A, B):
    return [[sum(a * b for a, b in zip(row, column)) for column in zip(*B)] for row in A]


def transpose(A):
    return [list(column) for column in zip(*A)]


def add(A, B):
    return [[a + b for a, b in zip(*rows)] for rows in zip(A, B)]


def stationary(F, Q):
    """The covariance P = F P F' + Q, by doubling."""
    for _ in range(40):
        Q = add(Q, times(times(F, Q), transpose(F)))
        F = times(F, F)
    return Q


def write(name, notes, F, Q, H, R, y, expected, mean=None, covariance=None, before=False, diffuse=None):
    """y is a list of steps, each a list of components. Without a prior all is diffuse."""
    n = len(F)
    if covariance is None:
        covariance, diffuse = zeros(n, n), diffuse or [1] * n
    matrices = {"F": F, "Q": Q, "H": H, "R": R, "prior_mean": [[x] for x in mean or [0.0] * n],
                "prior_covariance": covariance}
    if before:
        matrices["prior_before_first_transition"] = [[1]]
    if diffuse:
        matrices["prior_diffuse"] = [diffuse]
    matrices["y"] = transpose(y)
    with open(here / "published" / f"{name}.txt", "w") as file:
        file.writelines(f"# {note}\n" for note in notes)
        for key, x in matrices.items():
            file.write(f"{key} {len(x)} {len(x[0])} " + " ".join(short(v) for row in x for v in row) + "\n")
        for key, index, first, values, *within in expected:
            file.write(" ".join(["expect", key, str(index), str(first), *(f"within {x}" for x in within), *values]) + "\n")


# --- The Nile -------------------------------------------------------------------------------------------------------------
nile = [[float(row["flow"])] for row in table(examples / "nile.csv")]
one = [[1.0]]
write("nile_diffuse",
      ["The flow of the Nile, local level, variances of Durbin and Koopman (2012), section 2.2.5: exact diffuse",
       "source: documentation of ssfortran, tutorial and user guide (f.llf, smoothed level)"],
      one, [[1469.1]], one, [[15099.0]], nile,
      [("log_likelihood", 0, 0, ["-633.4646"]), ("smoothed_mean", 0, 0, ["1112", "1111", "1105"])])
write("nile_vague",
      ["The same under the vague prior N(0, 1e7) of that section",
       "source: LAMPSPUC/StateSpaceModels.jl (MIT), test/models/locallevel.jl: -632.54421 at the maximum of the likelihood, "
       "variances 15099 and 1469.1 as there",
       "convention: the term of the first step is left out; four decimals, since the variances are printed rounded"],
      one, [[1469.1]], one, [[15099.0]], nile, [("log_likelihood", 0, 1, ["-632.5442"])], [0.0], [[1e7]])
FKF = "source: R package FKF on R's Nile, as printed in Siphon.jl, test/fkf_validation_tests.jl"
write("nile_fkf", ["The same with the variances that FKF finds, prior N(1120, 100)", FKF],
      one, [[1300.7770281326016]], one, [[15247.7728343637]], nile,
      [("log_likelihood", 0, 0, ["-637.6260115846"]),
       ("predicted_mean", 0, 0, rounded([1120, 1120, 1123.3640894301147, 1100.1322949354128, 1120.689614058128,
                                         1129.105786767722, 1136.2243333621434, 1058.6623178789882, 1100.715153023627,
                                         1167.6439427329178], 13)),
       ("filtered_mean", 0, 95, rounded([907.2004994420702, 910.1801224150503, 861.6505846700672, 824.365695204029,
                                         803.0615762434667], 12)),
       ("predicted_covariance", 0, 0, rounded([100, 1400.125467798218, 2583.1488137544575, 3509.7075078221296,
                                               4153.784032169073, 4565.25501622511, 4814.120467776086, 4959.684698730231,
                                               5043.164980325884, 5090.500040863827], 12)),
       ("filtered_covariance", 0, 99, ["3850.38451424"])], [1120.0], [[100.0]])
gaps = [[math.nan] if t in (2, 9) else x for t, x in enumerate(nile)]
write("nile_fkf_missing",
      ["The same with two values missing", FKF,
       f"convention: FKF prints {-627.0054683261661:.13f}, with -log(2 pi) / 2 for the two missing values too; taken out here"],
      one, [[1385.0660439648536]], one, [[15124.1312944227]], gaps,
      [("log_likelihood", 0, 0, [f"{-627.0054683261661 + 2 * HALF_LOG_2PI:.10f}"]),
       ("filtered_mean", 0, 0, rounded([1120, 1123.5750503019735, 1123.5750503019735, 1142.0844759831643, 1146.279488101204,
                                        1149.6506377958817, 1064.742569925566, 1107.0217591553153, 1174.8280519639382,
                                        1174.8280519639382, 1119.793956485756], 13)),
       ("filtered_covariance", 0, 9, rounded([5284.671090115226, 4628.548641836674, 4302.76237339692], 12)),
       ("filtered_covariance", 0, 99, ["3936.45419845"])], [1120.0], [[100.0]])

# --- Kim and Nelson (1999), by their GAUSS programs -------------------------------------------------------------------------
kim = module("results_kalman_filter.py")
KIM = "source: Kim and Nelson, State-Space Models with Regime Switching (1999), GAUSS program {}, as printed in " + SM + \
      "results_kalman_filter.py"
uc = kim["uc_uni"]
sv, se, sw, phi1, phi2 = uc["parameters"]
F = [[1, 0, 0, 1], [0, phi1, phi2, 0], [0, 1, 0, 0], [0, 0, 0, 1]]
states = list(zip(*uc["states"]))
write("clark_1987",
      ["Clark (1987): US GDP as a walk with a walking drift, and an AR(2) cycle; read without noise", KIM.format("UC_UNI.OPT"),
       "convention: the prior N(0, 100 I) is of the state before the first step; the first 20 terms are left out",
       "within: the parameters are printed with six decimals, which moves the states by up to 4.8e-5, the log-likelihood by 1.6e-5"],
      F, diagonal(sv**2, se**2, 0, sw**2), [[1, 1, 0, 0]], [[0]], [[math.log(x)] for x in uc["data"]],
      [("log_likelihood", 0, uc["start"], [f"{uc['loglike']:.6f}"], 5e-6)] +
      [("filtered_mean", k, uc["start"], [f"{x:.6f}" for x in states[i]], 5e-5) for i, k in enumerate((0, 1, 3))],
      covariance=identity(4, 100), before=True)
bi = kim["uc_bi"]
sv, se, sw, svl, sec, phi1, phi2, a1, a2, a3 = bi["parameters"]
F = zeros(6, 6)
for i, j, x in ((0, 0, 1), (0, 4, 1), (1, 1, phi1), (1, 2, phi2), (2, 1, 1), (3, 2, 1), (4, 4, 1), (5, 5, 1)):
    F[i][j] = x
H = [[1, 1, 0, 0, 0, 0], [0, a1, a2, a3, 0, 1]]
Q, R = diagonal(sv**2, se**2, 0, 0, sw**2, svl**2), diagonal(0, sec**2)
y = [[math.log(gdp), rate / 100] for gdp, rate in bi["data"][4:]]
prior = times(times(F, identity(6, 100)), transpose(F))
states = list(zip(*bi["states"]))
write("clark_1989",
      ["Clark (1989): the same with unemployment as a second series, which has noise", KIM.format("UC_BI.OPT"),
       "convention: the prior N(0, 100 I) is of the state before the first step; the log-likelihood of that program lacks a term",
       "within: the parameters are printed with six decimals, which moves the states by up to 1.7e-5"],
      F, Q, H, R, y,
      [("filtered_mean", k, bi["start"], [f"{x:.6f}" for x in states[i]], 2e-6) for i, k in enumerate((0, 1, 4, 5))],
      covariance=identity(6, 100), before=True)
write("clark_1989_fkf",
      ["The same with the prior N(0, 100 F F') of the first state", "source: R package FKF, " + SM + "results_kalman_filter.py",
       "within: FKF factors the covariance of both innovations at once and so loses digits under this prior: 90-digit "
       "arithmetic gives 1485.419364349"],
      F, Q, H, R, y, [("log_likelihood", 0, 0, [f"{bi['loglike']:.5f}"], 3e-5)], covariance=prior)
rows = table(results / "results_clark1989_R.csv")
missing = [[gdp, rate if t < len(y) - 51 else math.nan] for t, (gdp, rate) in enumerate(y)]
write("clark_1989_missing",
      ["The same without the last 51 values of unemployment",
       "source: R packages FKF (predicted states; every tenth step and the last) and KFAS (log-likelihood), " + SM +
       "results_clark1989_R.csv, and test_representation.py"],
      F, Q, H, R, missing,
      [("log_likelihood", 0, 0, ["1232.113456"])] +
      [("predicted_mean", k, t + 1, rounded([rows[t][f"V{k + 2}"]], 7)) for t in [*range(20, 190, 10), 189] for k in range(6)],
      covariance=prior)
tvp = kim["tvp"]
write("money_growth",
      ["Growth of US money regressed on four variables and a constant, all coefficients walking: H differs at each step",
       KIM.format("TVP.OPT"),
       "convention: the prior N(0, 50 I) is of the state before the first step; the first 10 terms are left out; the "
       "coefficients are those before each step's data",
       "within: the parameters are printed with four decimals, which moves the coefficients by up to 9e-4, the log-likelihood by "
       "4e-6"],
      identity(5), diagonal(*(x**2 for x in tvp["parameters"][1:])), [[1, *row[2:]] for row in tvp["data"]],
      [[tvp["parameters"][0]**2]], [[row[1]] for row in tvp["data"]],
      [("log_likelihood", 0, tvp["start"], [f"{tvp['loglike']:.6f}"], 5e-6)] +
      [("predicted_mean", k, tvp["start"], [f"{x:.4f}" for x in column], 3e-4) for k, column in enumerate(zip(*tvp["states"]))],
      covariance=identity(5, 50), before=True)

# --- The SSM toolbox of Matlab ----------------------------------------------------------------------------------------------
wpi = [float(row["wpi"]) for row in table(results / "results_wpi1_ar3_stata.csv")]
growth = [[round(b - a, 1)] for a, b in zip(wpi, wpi[1:])]
F = [[.5270715, .0952613, .2580355], [1, 0, 0], [0, 1, 0]]
Q = diagonal(.5307459, 0, 0)
for name, what, y in (("wpi_ar3", "", growth), ("wpi_ar3_missing", "; eleven values missing",
                                                [x if not 9 <= t < 20 else [math.nan] for t, x in enumerate(growth)])):
    file = f"results_{name.replace('ar3_missing', 'missing_ar3').replace('wpi', 'wpi1')}_matlab_ssm.csv"
    with open(results / file) as lines:
        columns = list(zip(*([float(x) for x in row] for row in csv.reader(lines))))

    def printed(column):  # %.5g; what is rounding alone was printed as such
        return ["0.00000" if abs(x) < 1e-12 else f"{x:.{4 - math.floor(math.log10(abs(x)))}f}" for x in column]

    write(name, ["US wholesale prices, AR(3) of the differences, read without noise, stationary prior" + what,
                 "source: Matlab's SSM toolbox, " + SM + file + ", made by example_ssm_wpi1.m; five digits"],
          F, Q, [[1, 0, 0]], [[0]], y,
          [("predicted_mean", k, 0, printed(columns[k])) for k in range(3)] +
          [("smoothed_mean", k, 0, printed(columns[4 + k])) for k in range(3)], covariance=stationary(F, Q))

# --- Exact diffuse: Koopman (1997), KFAS, Stata -----------------------------------------------------------------------------
KFAS = "source: R package KFAS 1.3.1, " + SM + "{} (states, variances, log-likelihood)"


def kfas(name, notes, F, Q, H, R, y, stata=None, known=(), skip=0, digits=10, **prior):
    """skip: at so many steps KFAS has other states than Koopman's formulas or statsmodels."""
    file = f"results_exact_initial_{name}_R.csv"
    rows = table(results / file)
    n, length = len(F), len(y)
    seen = [sum(float(row.get(f"Finf_{i + 1}", "NA").replace("NA", "0")) > 0 and y[t][i] == y[t][i]
                for i in range(len(y[0]))) for t, row in enumerate(rows[:length])]
    total = float(rows[0]["llf"]) - HALF_LOG_2PI * sum(seen)
    expected = [("log_likelihood", 0, 0, rounded([total], digits))]
    notes = [*notes, KFAS.format(file),
             f"convention: KFAS prints {rows[0]['llf']}, without -log(2 pi) / 2 for the {sum(seen)} values that a diffuse "
             "direction takes; added here"]
    if stata:
        notes.append(f"source: Stata, {SM}test_exact_diffuse_filtering_stata.do: the log-likelihood is {stata}, of which, by de "
                     "Jong's method, seven digits are right")
        expected.append(("log_likelihood", 0, 0, rounded([stata], 7)))
    expected += [(key, index, first, rounded([value], 14)) for key, index, first, value in known]
    if skip:
        notes.append(f"nan: the states of KFAS 1.3.1 at the first {skip} step(s) are wrong: Koopman's formulas, statsmodels' exact "
                     "filter and vague priors agree on others")
    for key, column in (("filtered_mean", "att"), ("smoothed_mean", "alphahat")):
        for k in range(n):
            values = [math.nan] * skip + [row[f"{column}_{k + 1}"] for row in rows[skip:length]]
            if column == "att":
                values = [math.nan if t < len(seen) and sum(seen[t + 1:]) else x for t, x in enumerate(values)]
            expected.append((key, k, 0, rounded(values, digits)))
    if "V_1" in rows[0]:
        for k in range(n * n):
            expected.append(("smoothed_covariance", k, 0, rounded([row[f"V_{k + 1}"] for row in rows[:length]], digits)))
    elif n == 1:
        expected.append(("smoothed_covariance", 0, 0, rounded([row["sumV"] for row in rows[:length]], digits)))
    write("kfas_" + name, notes, F, Q, H, R, y, expected, **prior)


KOOPMAN = "source: Koopman, Exact initial Kalman filtering and smoothing, JASA 92 (1997), section 5: formulas for {}"
s2, q = 1.993, (8.253, 2.334)
y = [[10.2394]] + [[1.0]] * 9
kfas("local_level", ["Local level", KOOPMAN.format("the second step's prediction")],
     one, [[q[0]]], one, [[s2]], y,
     known=[("predicted_mean", 0, 1, y[0][0]), ("predicted_covariance", 0, 1, s2 + q[0])])
y = [[10.2394], [4.2039], [6.123123]] + [[1.0]] * 7
F, H = [[1, 1], [0, 1]], [[1, 0]]
m, b = (x / s2 for x in q)
cross = s2 * (3 + m + b)
kfas("local_linear_trend", ["Local linear trend", KOOPMAN.format("the third step's prediction")],
     F, diagonal(*q), H, [[s2]], y, stata=-22.9743755748041529,
     known=[("predicted_mean", 0, 2, 2 * y[1][0] - y[0][0]), ("predicted_mean", 1, 2, y[1][0] - y[0][0]),
            ("predicted_covariance", 0, 2, s2 * (5 + 2 * m + b)), ("predicted_covariance", 1, 2, cross),
            ("predicted_covariance", 2, 2, cross), ("predicted_covariance", 3, 2, s2 * (2 + m + 2 * b))])
y = [x if t != 1 else [math.nan] for t, x in enumerate(y)]
cross = s2 * (1 + m / 2 + 1.25 * b)
kfas("local_linear_trend_missing",
     ["Local linear trend, the second value missing", KOOPMAN.format("the fourth step's prediction, as extended to this case "
                                                                     "in statsmodels' test_exact_diffuse_filtering.py")],
     F, diagonal(*q), H, [[s2]], y,
     known=[("predicted_mean", 0, 3, 1.5 * y[2][0] - 0.5 * y[0][0]), ("predicted_mean", 1, 3, 0.5 * (y[2][0] - y[0][0])),
            ("predicted_covariance", 0, 3, s2 * (2.5 + 1.5 * m + 1.25 * b)), ("predicted_covariance", 1, 3, cross),
            ("predicted_covariance", 2, 3, cross), ("predicted_covariance", 3, 3, s2 * (0.5 + 0.5 * m + 2.25 * b))])
theta, q = 0.1111, 3.2324
y = [[10.2394, 8.2304]] + [[1.0, 1.0]] * 9
kfas("common_level", ["A level common to two series", KOOPMAN.format("the second step's prediction")],
     identity(2), diagonal(q, 0), [[1, 0], [theta, 1]], identity(2), y, stata=-53.7830389463984773,
     known=[("predicted_mean", 0, 1, y[0][0]), ("predicted_mean", 1, 1, y[0][1] - theta * y[0][0]),
            ("predicted_covariance", 0, 1, 1 + q), ("predicted_covariance", 1, 1, -theta),
            ("predicted_covariance", 3, 1, 1 + theta**2)])
phi = 1 / (1 + theta**2)
kfas("common_level_restricted", ["The same with no level of the second series' own", KOOPMAN.format("the second step's prediction")],
     one, [[q]], [[1], [theta]], identity(2), y, skip=1,
     known=[("predicted_mean", 0, 1, phi * (y[0][0] + theta * y[0][1])), ("predicted_covariance", 0, 1, phi + q)])
macro = table(statsmodels / "datasets" / "macrodata" / "macrodata.csv")
logs = [[math.log(float(row[key])) for key in ("realgdp", "realcons")] for row in macro[:21]]
y = [[400 * (b - a) for a, b in zip(*pair)] for pair in zip(logs, logs[1:])]
US = "Growth of US GDP and consumption: "
F, Q = [[.5, .3], [.2, .4]], diagonal(2, 3)
kfas("var1", [US + "VAR(1) read without noise"], F, Q, identity(2), zeros(2, 2), y)
kfas("var1_measurement_error", [US + "VAR(1) read with noise"], F, Q, identity(2), diagonal(4, 5), y)
kfas("var1_missing", [US + "VAR(1) read without noise, nine values missing"], F, Q, identity(2), zeros(2, 2),
     [[math.nan if t < 5 or 8 <= t < 12 else x[0], math.nan if 8 <= t < 12 else x[1]] for t, x in enumerate(y)])
kfas("var1_mixed", [US + "VAR(1) read without noise, of which one state is diffuse"], F, Q, identity(2), zeros(2, 2), y, skip=1,
     covariance=diagonal(0, 3.5714285714285716), diffuse=[1, 0])
kfas("dfm", [US + "a common AR(2) factor"], [[.9, .1], [1, 0]], diagonal(1, 0), [[.5, 0], [1, 0]], diagonal(1.5, 2), y, skip=2)

# --- Structural models of US unemployment, by KFAS ----------------------------------------------------------------------------
y = [[float(row["unemp"])] for row in macro]
regressor = [math.log(float(row["realgdp"])) for row in macro]
UCM = "source: R package KFAS, " + SM + "results_structural.py, made by test_ucm.R"
EXACT = "convention: KFAS prints {}, without -log(2 pi) / 2 for the {} values that a diffuse direction takes; added here"
turn = [[math.cos(.2 * math.pi), math.sin(.2 * math.pi)], [-math.sin(.2 * math.pi), math.cos(.2 * math.pi)]]
season = [[-1, -1, -1], [1, 0, 0], [0, 1, 0]]


def blocks(*parts):
    n = sum(len(x) for x in parts)
    whole, at = zeros(n, n), 0
    for x in parts:
        for i, row in enumerate(x):
            whole[at + i][at:at + len(row)] = row
        at += len(x)
    return whole


def structural(name, what, printed, F, Q, H, R, steps=0, notes=(), within=(), **prior):
    notes = ["US unemployment: " + what, UCM, *notes]
    value = float(printed)
    if steps:
        notes.append(EXACT.format(printed, steps))
        value -= steps * HALF_LOG_2PI
    decimals = len(printed.split(".")[1])
    write("unemployment_" + name, notes, F, Q, H, R, y, [("log_likelihood", 0, 0, [f"{value:.{decimals}f}"], *within)], **prior)


trend = [[1, 1], [0, 1]]
structural("trend", "local linear trend", "-31.15640107", trend, diagonal(1.008704925e-02, 6.091760810e-02), [[1, 0]],
           [[1.339852549e-06]], steps=2, within=[1e-8],
           notes=["within: 90-digit arithmetic gives -32.9942781345 for the parameters as they are printed"])
structural("trend_ar1", "a trend whose slope walks, and an AR(1); read without noise", "-31.15629379",
           blocks(trend, [[.9592]]), diagonal(0, .0609, .0097), [[1, 0, 1]], [[0]], steps=2,
           covariance=diagonal(0, 0, .0097 / (1 - .9592**2)), diffuse=[1, 1, 0])
structural("cycle", "a stochastic cycle of ten quarters under a vague prior", "-672.3102588", turn, identity(2, .1), [[1, 0]],
           [[37.57197224]], covariance=identity(2, 1e6))
structural("seasons", "dummies of seasons under a vague prior", "-678.8138005", season, diagonal(.1, 0, 0), [[1, 0, 0]],
           [[38.17043009]], covariance=identity(3, 1e6))
structural("regression", "regressed on the log of GDP under a vague prior: H differs at each step", "-379.6233483", one, [[0]],
           [[x] for x in regressor], [[2.215447924]], covariance=[[1e6]])
structural("everything", "local linear trend, cycle, seasons, AR(1) and a regression under a vague prior: H differs at each step",
           "-168.5258709", blocks(trend, turn, season, one, [[.2]]), diagonal(.01, .06, 1e-4, 1e-4, 1e-4, 0, 0, 0, .1),
           [[1, 0, 1, 0, 1, 0, 0, x, 1] for x in regressor], [[1e-4]],
           covariance=diagonal(*[1e6] * 8, .1 / (1 - .2**2)))

# --- A dynamic factor, by Stata -----------------------------------------------------------------------------------------------
levels = [[math.log(x) for x in row] for row in module("results_varmax.py")["lutkepohl_data"][:76]]
y = [[b - a for a, b in zip(*pair)] for pair in zip(levels, levels[1:])]
dfm = module("results_dynamic_factor.py")["lutkepohl_dfm"]
loadings, variances, ar = dfm["params"][:3], dfm["params"][3:6], dfm["params"][6:]
F, Q = [ar, [1, 0]], diagonal(1, 0)
rows = table(results / "results_dynamic_factor_stata.csv")[1:len(y) + 1]
write("dynamic_factor",
      ["West German investment, income and consumption (Luetkepohl): a common AR(2) factor, stationary prior",
       "source: Stata, dfactor, " + SM + "results_dynamic_factor.py and ..._stata.csv",
       "within: Stata's parameters are printed with as few as four digits"],
      F, Q, [[x, 0] for x in loadings], diagonal(*variances), y,
      [("log_likelihood", 0, 0, [f"{dfm['loglike']:.4f}"], 1e-4)] +
      [("predicted_y", k, 0, [f"{float(row[f'predict_dfm_{k + 1}']):.7f}" for row in rows], 2e-6) for k in range(3)],
      covariance=stationary(F, Q))
