"""Gaussian process regression (Rasmussen & Williams, 2006; "GPML" below), small and fast.

Matérn-5/2 covariance with a length scale for each group of columns, unit signal variance, mean 0:
targets are assumed to be standardised. Length scales and noise maximise the posterior
density under the priors of Hvarfner et al. (ICML 2024), "Vanilla Bayesian optimization performs
great in high dimensions": scales that grow with the square root of the dimension.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.linalg import cho_solve, solve_triangular
from scipy.optimize import minimize

from hpsearch.samplers.unit_cube import Array, Integers

#: log-normal priors, mean and standard deviation of the logarithm
LENGTH_SCALE_PRIOR = (math.sqrt(2.0), math.sqrt(3.0))  # the mean grows by log(dimension) / 2
NOISE_PRIOR = (-4.0, 1.0)
#: bounds of the logarithms while fitting
LOG_BOUNDS = (-9.0, 6.0)
#: keeps standard deviations above rounding errors
MIN_VARIANCE = 1e-10


class GaussianProcess:
    """A Gaussian process with given targets.

    `features` are rows (num_points, num_columns); `groups` says for each column which length
    scale it has, counted from 0; `noise` is the variance of the targets, of each or of all.
    """

    def __init__(
        self,
        features: Array,
        targets: Array,
        noise: Array | float,
        length_scales: Array,
        groups: Integers,
    ) -> None:
        self._scales = length_scales[groups]
        self._features = features / self._scales
        covariance = matern52(squared_distances(self._features, self._features))
        covariance[np.diag_indices_from(covariance)] += noise
        self._cholesky = np.linalg.cholesky(covariance)
        self._weights = cho_solve((self._cholesky, True), targets)  # GPML algorithm 2.1, line 3

    def predict(self, features: Array) -> tuple[Array, Array]:
        """Return mean and standard deviation of the latent function (GPML eq. 2.25, 2.26)."""
        cross = matern52(squared_distances(self._features, features / self._scales))
        reduction = solve_triangular(self._cholesky, cross, lower=True, check_finite=False)
        variance = 1.0 - np.einsum("ij,ij->j", reduction, reduction)
        return cross.T @ self._weights, np.sqrt(np.maximum(variance, MIN_VARIANCE))

    def mean(self, features: Array) -> Array:
        """Return the mean of the latent function alone, (num_points,)."""
        cross = matern52(squared_distances(self._features, features / self._scales))
        mean: Array = cross.T @ self._weights
        return mean

    def samples(self, features: Array, num_samples: int, rng: np.random.Generator) -> Array:
        """Return joint samples of the latent function, (num_samples, num_points)."""
        scaled = features / self._scales
        cross = matern52(squared_distances(self._features, scaled))
        reduction = solve_triangular(self._cholesky, cross, lower=True, check_finite=False)
        covariance = matern52(squared_distances(scaled, scaled)) - reduction.T @ reduction
        values, vectors = np.linalg.eigh(covariance)  # singular where points coincide
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        normal = rng.standard_normal((num_samples, len(root)))
        drawn: Array = cross.T @ self._weights + normal @ root.T
        return drawn

    def averages(self, features: Array) -> tuple[Array, Array]:
        """Return means and covariance of the latent function's averages over sets of points.

        `features` are (num_sets, num_points, num_columns); an average is linear in the function,
        so that it is as normal as the function itself.
        """
        num_sets, num_points, num_columns = features.shape
        scaled = features.reshape(-1, num_columns) / self._scales
        cross = matern52(squared_distances(self._features, scaled))
        cross = cross.reshape(-1, num_sets, num_points).mean(axis=2)
        prior = matern52(squared_distances(scaled, scaled))
        prior = prior.reshape(num_sets, num_points, num_sets, num_points).mean(axis=(1, 3))
        reduction = solve_triangular(self._cholesky, cross, lower=True, check_finite=False)
        return cross.T @ self._weights, prior - reduction.T @ reduction


def fit_hyperparameters(
    features: Array, targets: Array, known_noise: Array, groups: Integers, max_steps: int = 10
) -> tuple[Array, float]:
    """Return the length scales and the noise variance of the highest posterior density.

    `known_noise` are variances of the targets, added to the fitted one.
    """
    num_groups = int(groups.max()) + 1
    columns = [features[:, groups == group] for group in range(num_groups)]
    distances = np.stack([squared_distances(column, column) for column in columns])
    widening = 0.5 * math.log(num_groups)
    prior_mean = np.full(num_groups + 1, LENGTH_SCALE_PRIOR[0] + widening)
    prior_std = np.full(num_groups + 1, LENGTH_SCALE_PRIOR[1])
    prior_mean[-1], prior_std[-1] = NOISE_PRIOR

    def negative_log_posterior(theta: Array) -> tuple[float, Array]:
        value, gradient = _negative_log_likelihood(theta, distances, targets, known_noise)
        standard = (theta - prior_mean) / prior_std
        return value + 0.5 * float(standard @ standard), gradient + standard / prior_std

    start = np.full(num_groups + 1, math.log(0.5) + widening)
    start[-1] = math.log(0.05)
    found = minimize(
        negative_log_posterior,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=[LOG_BOUNDS] * len(start),
        options={"maxiter": max_steps},
    )
    return np.exp(found.x[:-1]), float(np.exp(found.x[-1]))


def matern52(squared: Array) -> Array:
    """Matérn covariance, ν = 5/2, of squared scaled distances (GPML eq. 4.17)."""
    root = np.sqrt(5.0 * squared)
    covariance: Array = (1.0 + root + root * root / 3.0) * np.exp(-root)
    return covariance


def squared_distances(a: Array, b: Array) -> Array:
    """Return the squared Euclidean distances of the rows of a to those of b."""
    squares = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1) - 2.0 * (a @ b.T)
    distances: Array = np.maximum(squares, 0.0)
    return distances


def _negative_log_likelihood(
    theta: Array, distances: Array, targets: Array, known_noise: Array
) -> tuple[float, Array]:
    """GPML eq. 2.30 and its gradient, eq. 5.9, for theta = (log length scales, log noise)."""
    inverse_squares = np.exp(-2.0 * theta[:-1])
    noise = math.exp(theta[-1])
    squared = np.tensordot(inverse_squares, distances, axes=1)
    covariance = matern52(squared)
    covariance[np.diag_indices_from(covariance)] += noise + known_noise
    cholesky = np.linalg.cholesky(covariance)
    inverse = cho_solve((cholesky, True), np.eye(len(targets)), check_finite=False)
    alpha = inverse @ targets
    value = (
        0.5 * float(targets @ alpha)
        + float(np.log(np.diag(cholesky)).sum())
        + 0.5 * len(targets) * math.log(2.0 * math.pi)
    )
    slopes = inverse - np.outer(alpha, alpha)
    # From eq. 4.17: dk / dlog(scale) = 5/3 (1 + √5 r) exp(-√5 r) distance² / scale²
    root = np.sqrt(5.0 * squared)
    by_square = slopes * ((5.0 / 3.0) * (1.0 + root) * np.exp(-root))
    by_scale = 0.5 * np.tensordot(distances, by_square, axes=2) * inverse_squares
    return value, np.append(by_scale, 0.5 * float(np.trace(slopes)) * noise)
