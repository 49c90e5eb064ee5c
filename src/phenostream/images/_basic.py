"""BaSiC: the illumination of a stack as the low-rank part of a robust decomposition.

Peng et al. 2017 (Nature Communications 8:14836, doi:10.1038/ncomms14836) write a stack of frames I_i as

    I_i(x) = b_i S(x) + D(x) + R_i(x),        D(x) = d + D_r(x)

with one flat-field S, one brightness b_i a frame (mean 1), one dark-field D (a constant and a zero-mean part) and a
sparse residual R: the objects. S and D_r are sparse in the cosine (DCT) domain, and what is asked for is

    min  ||W * R||_1 + l_s ||DCT S||_1 + l_d ||DCT D_r||_1 + l_d ||D_r||_1

solved by the inexact method of augmented Lagrange multipliers (Lin et al. 2010, arXiv:1009.5055), again and again with
weights W = 1 / (|R| / mean(b_i S + D) + epsilon), which brings the 1-norm near the count of object pixels (Candes et
al. 2008). This is our own implementation of the equations; constants that the paper leaves open (first penalty
12.5 / ||I||_2, growth 1.5, regularisation 1/800 and 1/4000 of the DCT's 1-norm, linearisation 10 of the dark-field)
were settled by agreement with published reference results.

Two rewritings make it quick. With T = mu (I - b S - D) + Y, the multiplier after a step is clip(T, -W, W) and the
residual is what was clipped away; so neither the residual nor the low-rank part is ever stored, and all sums that the
other unknowns need follow from the change of the multiplier. And one step visits the stack frame by frame, so that its
arrays stay in the processor's cache.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.fft import dctn, idctn

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Vector = NDArray[np.float64]
    Stack = NDArray[np.float32]

_FIRST_PENALTY = 12.5
_GROWTH = 1.5
_MOST_GROWTH = 1e7
_DARK_LINEARISATION = 10.0
_FLAT_SHARE = 1 / 800
_DARK_SHARE = 1 / 4000
_TINY = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class BasicOptions:
    """Parameters of the decomposition; the defaults are the reference implementation's.

    Attributes:
        lambda_flatfield: weight of the flat-field's DCT coefficients; None: 1/800 of the 1-norm of the DCT of the
            mean frame divided by its mean.
        lambda_darkfield: the same for the dark-field; None: 1/4000 of that norm.
        epsilon: floor of the relative residual in the weights, 0.1.
        iterations: most steps of one solution.
        tolerance: relative size of the constraint's violation at which a solution is done.
        reweightings: most solutions.
        reweight_tolerance: relative change of flat- and dark-field below which weights are settled.
    """

    lambda_flatfield: float | None = None
    lambda_darkfield: float | None = None
    epsilon: float = 0.1
    iterations: int = 500
    tolerance: float = 1e-6
    reweightings: int = 10
    reweight_tolerance: float = 1e-3


@dataclass(frozen=True, slots=True)
class Shading:
    """What is common to all frames: flat-field (h, w), mean 1, and dark-field (h, w) in units of intensity."""

    flatfield: Vector
    darkfield: Vector


def decompose(frames: NDArray[Any], *, darkfield: bool, options: BasicOptions) -> Shading:
    """Flat-field and dark-field of frames (N, h, w), all finite, not constant, of positive mean.

    The frames may come in any order: only the sorted values at each pixel are looked at, which keeps moving objects
    out of the low-rank part.
    """
    shape = frames.shape[1:]
    stack = np.sort(frames, axis=0).reshape(len(frames), -1).astype(np.float32)
    penalties = _penalties(frames, options)
    weights = np.ones_like(stack)
    last = Shading(np.ones(shape), np.zeros(shape))
    for _ in range(options.reweightings):
        solver = _Solver(stack, weights, shape, penalties, darkfield=darkfield)
        solver.solve(options.iterations, options.tolerance)
        shading = solver.shading()
        change = max(
            _change(shading.flatfield, last.flatfield),
            _change(shading.darkfield, last.darkfield),
        )
        last = shading
        if change <= options.reweight_tolerance:
            break
        solver.reweight(options.epsilon)
    return last


def baseline(frames: NDArray[Any], shading: Shading, *, epsilon: float = 0.1, reweightings: int = 5) -> Vector:
    """Brightness of each frame without shading and without objects, in units of intensity.

    The reweighted 1-norm of (I_i - D) / S - b_i is smallest at a weighted median, which sorted values give exactly.

    Args:
        frames: (N, h, w) in their own order.
        shading: of the same (h, w).
        epsilon: floor of the relative residual in the weights.
        reweightings: number of medians taken.

    Returns:
        (N,) float64.
    """
    flat = np.maximum(shading.flatfield, _floor(shading.flatfield))
    corrected = ((np.asarray(frames) - shading.darkfield) / flat).reshape(len(frames), -1).astype(np.float32)
    corrected.sort(axis=1)
    return np.array([_reweighted_median(row, epsilon, reweightings) for row in corrected])


def _reweighted_median(row: NDArray[np.float32], epsilon: float, reweightings: int) -> float:
    level = float(row[(len(row) - 1) // 2])
    for _ in range(reweightings - 1):
        weights = 1 / (np.abs(row - level) / max(abs(level), _TINY) + epsilon)
        mass = np.cumsum(weights, dtype=np.float64)
        level = float(row[np.searchsorted(mass, mass[-1] / 2)])
    return level


def _floor(flatfield: Vector) -> float:
    """The least flat-field that anything is divided by: a hundredth of the mean."""
    return 0.01 * float(flatfield.mean())


def _penalties(frames: NDArray[Any], options: BasicOptions) -> tuple[float, float]:
    mean = frames.mean(axis=0, dtype=np.float64)
    norm = float(np.abs(dctn(mean / mean.mean(), norm="ortho")).sum())
    flat, dark = options.lambda_flatfield, options.lambda_darkfield
    return (norm * _FLAT_SHARE if flat is None else flat, norm * _DARK_SHARE if dark is None else dark)


def _change(new: Vector, old: Vector) -> float:
    difference = float(np.abs(new - old).sum())
    return difference / max(float(np.abs(old).sum()), _TINY) if difference > 0 else 0.0


def _shrink(values: Vector, threshold: float) -> Vector:
    """Soft threshold, the proximal step of the 1-norm."""
    return values - np.clip(values, -threshold, threshold)


def _largest_singular_value(stack: Stack) -> float:
    """Largest singular value by power iteration: frames of one scene are nearly parallel, so a few rounds suffice."""
    image = stack.mean(axis=0)
    value = 0.0
    for _ in range(6):
        scores = np.einsum("np,p->n", stack, image, dtype=np.float64)
        scores /= np.sqrt((scores**2).sum())
        image = np.einsum("n,np->p", scores.astype(np.float32), stack)
        value = float(np.sqrt(np.square(image, dtype=np.float64).sum()))
    return value


class _Solver:
    """One solution for given weights: the unknowns and the steps that better each in turn.

    Arrays over the stack are (N, p) float32, p = h w; vectors over pixels or frames are float64.
    """

    def __init__(
        self, stack: Stack, weights: Stack, shape: tuple[int, ...], penalties: tuple[float, float], *, darkfield: bool
    ) -> None:
        frames, pixels = stack.shape
        self._stack, self._weights, self._shape = stack, weights, shape
        self._flat_penalty, self._dark_penalty = penalties
        self._with_dark, self._darkest = darkfield, float(stack.min())
        self._mu = _FIRST_PENALTY / _largest_singular_value(stack)
        self._most = self._mu * _MOST_GROWTH
        self._norm = float(np.sqrt(np.einsum("np,np->", stack, stack, dtype=np.float64)))
        self._multiplier, self._next = np.zeros_like(stack), np.empty_like(stack)
        self._spare = np.empty(pixels, np.float32)
        self._spectrum = np.zeros(shape)
        self._flat, self._offset = np.zeros(pixels), np.zeros(pixels)
        self._scores = np.ones(frames)
        self._level = 0.0
        # Means over frames, a value a pixel: of what is not residual, and of the multiplier.
        self._smooth = stack.mean(axis=0, dtype=np.float64)
        self._pull = np.zeros(pixels)

    def solve(self, iterations: int, tolerance: float) -> None:
        """Iterate until stack = scores x flat + offset + residual holds to `tolerance`."""
        for _ in range(iterations):
            self._better_flat()
            violation, by_frame, bright = self._better_residual()
            self._better_scores(by_frame)
            if self._with_dark:
                self._better_dark(by_frame, bright)
            self._mu = min(self._mu * _GROWTH, self._most)
            if violation <= tolerance * self._norm:
                return

    def shading(self) -> Shading:
        """Flat-field and dark-field so far."""
        mean = float(self._flat.mean())
        # A stack that the penalties wholly explain away has no structure: its flat-field is flat.
        flat = self._flat / mean if mean > 0 else np.ones_like(self._flat)
        dark = self._offset + self._level * self._flat
        return Shading(flat.reshape(self._shape), dark.reshape(self._shape))

    def reweight(self, epsilon: float) -> None:
        """Set the weights, in place, by the residual relative to each frame's mean light."""
        light = self._flat.mean() * self._scores + self._offset.mean()
        scale = (1 / (np.maximum(light, 0) + _TINY)).astype(np.float32)
        flat, offset = self._flat.astype(np.float32), self._last_offset.astype(np.float32)
        for i, weights in enumerate(self._weights):
            residual = self._stack[i] - flat * np.float32(self._last_scores[i]) - offset
            residual -= self._next[i] / np.float32(self._last_mu)
            np.divide(1, np.abs(residual) * scale[i] + np.float32(epsilon), out=weights)
        self._weights /= self._weights.mean(dtype=np.float64).astype(np.float32)

    def _better_flat(self) -> None:
        misfit = self._smooth + self._pull / self._mu - self._flat * self._scores.mean() - self._offset
        spectrum = self._spectrum + dctn(misfit.reshape(self._shape), norm="ortho")
        self._spectrum = _shrink(spectrum, self._flat_penalty / self._mu)
        self._flat = idctn(self._spectrum, norm="ortho").ravel()

    def _better_residual(self) -> tuple[float, Vector, Vector]:
        """Step residual and multiplier; the violation, and frame sums of its change over all and over bright pixels."""
        flat, offset = self._flat.astype(np.float32), self._offset.astype(np.float32)
        scores, mu = self._scores.astype(np.float32), np.float32(self._mu)
        halves = (self._flat >= self._flat.mean()).astype(np.float32)
        square, by_pixel = 0.0, np.zeros_like(flat)
        by_frame, bright = np.zeros(len(scores)), np.zeros(len(scores))
        for i, (frame, weights) in enumerate(zip(self._stack, self._weights, strict=True)):
            new, change = self._next[i], self._multiplier[i]
            np.multiply(flat, scores[i], out=new)
            np.subtract(frame, new, out=new)
            if self._with_dark:
                new -= offset
            new *= mu
            new += change
            np.minimum(new, weights, out=new)
            np.maximum(new, np.negative(weights, out=self._spare), out=new)
            np.subtract(new, change, out=change)
            by_pixel += change
            by_frame[i] = change.sum()
            square += float(np.einsum("p,p->", change, change))
            if self._with_dark:
                bright[i] = np.einsum("p,p->", change, halves)
        # The old multiplier's memory now holds the change, which the dark-field and the residual still need.
        self._multiplier, self._next = self._next, self._multiplier
        self._last_scores, self._last_offset, self._last_mu = self._scores, self._offset, mu
        self._pull = self._pull + by_pixel / len(self._scores)
        light = self._flat * self._scores.mean() + self._offset
        self._smooth = light + by_pixel / (len(self._scores) * self._mu)
        return float(np.sqrt(square)) / self._mu, by_frame / self._mu, bright / self._mu

    def _better_scores(self, by_frame: Vector) -> None:
        light = self._scores * self._flat.mean() + self._offset.mean() + by_frame / len(self._flat)
        mean = float(light.mean())
        self._light = light
        self._scores = np.maximum(light / mean, 0) if mean > 0 else np.ones_like(light)

    def _better_dark(self, by_frame: Vector, bright: Vector) -> None:
        """Step the dark-field, from the frames that are dimmer than the mean: there it weighs most."""
        dim = self._scores < 1
        total = float(self._light.mean())
        if not dim.any() or total <= 0:
            return
        self._level = self._dark_level(self._contrast(by_frame, bright)[dim] / total, self._scores[dim])
        # A constant under the flat-field looks like minus its share of the flat-field's own structure.
        bend = self._level * (self._flat.mean() - self._flat)
        change = np.zeros(len(self._flat), np.float32)
        for i in np.flatnonzero(dim):
            change += self._next[i]
        light = self._flat * self._last_scores[dim].mean() + self._offset + change / (dim.sum() * self._mu)
        rest = light - self._scores[dim].mean() * self._flat
        rest = rest - rest.mean() - bend
        threshold = self._dark_penalty / (_DARK_LINEARISATION * self._mu)
        smooth = _shrink(dctn(rest.reshape(self._shape), norm="ortho"), threshold)
        self._offset = _shrink(idctn(smooth, norm="ortho").ravel(), threshold) + bend

    def _contrast(self, by_frame: Vector, bright: Vector) -> Vector:
        """Mean light of each frame where the flat-field is bright, minus where it is not."""
        halves = self._flat >= self._flat.mean()
        count = int(halves.sum())
        other = len(halves) - count
        if not count or not other:
            return np.zeros_like(by_frame)
        change = bright / count - (by_frame - bright) / other
        steady = self._offset[halves].mean() - self._offset[~halves].mean()
        shading = float(self._flat[halves].mean() - self._flat[~halves].mean())
        contrast: Vector = self._last_scores * shading + steady + change
        return contrast

    def _dark_level(self, contrast: Vector, scores: Vector) -> float:
        """Brightness at which the contrast vanishes, by a line through (score, contrast), bounded by the darkest pixel.

        A frame without light shows no flat-field: where the line crosses zero, only the dark constant is left.
        """
        spread = float((contrast * scores).mean() - contrast.mean() * scores.mean())
        if spread == 0:
            return 0.0
        crossing = float((scores * contrast).mean() * scores.mean() - (scores**2).mean() * contrast.mean()) / spread
        bound = self._darkest / max(float(self._flat.mean()), 1e-9)
        return min(max(crossing, 0.0), bound)
