"""Lays one luma plane over a window of another and says how alike their fine detail is; many pairs at a time.

A window is four numbers ``y0, y1, x0, x1``, in parts of the picture's side. It may reach a little over the border.
All resampling is separable (rows times columns), so a batch is a few matrix products. Turns and flips are not
searched here: the caller turns the plane first.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Planes = NDArray[np.float32]


class Readers(NamedTuple):
    """Matrices that resample a plane from both sides: ``rows [W, side, S]``, ``columns [W, S, side]``."""

    rows: Planes
    columns: Planes


_OVERHANG = 0.14  # how far a window may reach over the border, parts of the side: shifts of 3 in 32 px
_SHORTEST = 0.62  # shortest window side that the refinement may reach; crops keep at least .7
_STEP_LIMIT = 0.05  # largest move of centre or half-length in one step, parts of the side
FIRST_SIDE, _FIRST_RIM = 24, 2  # samples of the quick look, and how many of them at the rim are left out
_DETAIL_SIDE = 32  # samples; finer detail does not survive quality 20 or half size in pictures of 32 px
_NOISE = 4.0  # grey levels; detail weaker than this is mostly JPEG noise
_RIM = 3  # samples of 32: the widest frame or shift that is looked for, 3 px of 32
WHITE = 250  # grey level from which a sample counts as clipped; resampling takes a little off 255
_CLIPPED = 0.01  # part of a picture that must be clipped to matter
_ACTIVE = 0.35  # of the evened detail: the root mean square is then about 1.5 grey levels


def halved(planes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Rounded means of 2 x 2: ``[B, S, S]`` -> ``[B, S / 2, S / 2]``."""
    neighbours = np.ascontiguousarray(planes).view(np.uint16)  # seven times faster than the same in float32
    sums = (neighbours & 255) + (neighbours >> 8)
    squares = sums[:, 0::2] + sums[:, 1::2]
    return ((squares + 2) >> 2).astype(np.uint8)


def sample(planes: Planes, windows: Planes, side: int) -> Planes:
    """Resample windows ``[B, 4]`` of planes ``[B, S, S]`` to ``[B, side, side]``, anti-aliased, edges repeated."""
    readers = read_windows(windows, source=planes.shape[-1], side=side)
    return (readers.rows @ planes @ readers.columns).astype(np.float32, copy=False)


def sample_whole(planes: Planes, side: int) -> Planes:
    """`sample` of the whole planes."""
    readers = _read_whole(planes.shape[-1], side)
    return (readers.rows @ planes @ readers.columns).astype(np.float32, copy=False)


def inside(windows: Planes, side: int) -> Planes:
    """1 where a sample of `sample` lies on its plane, 0 where it only repeats the edge: ``[B, side, side]``."""
    at = (np.arange(side, dtype=np.float32) + 0.5) / side
    y = windows[:, 0:1] + (windows[:, 1:2] - windows[:, 0:1]) * at
    x = windows[:, 2:3] + (windows[:, 3:4] - windows[:, 2:3]) * at
    rows, columns = ((y >= 0) & (y <= 1)), ((x >= 0) & (x <= 1))
    return (rows[:, :, None] & columns[:, None, :]).astype(np.float32)


def band_pass(images: Planes, *, fine: float, coarse: float) -> Planes:
    """Difference of Gaussians of ``[B, n, n]``: keeps detail between the two standard deviations, in samples."""
    small, large = _gaussian(images.shape[-1], fine), _gaussian(images.shape[-1], coarse)
    return (small @ images @ small.T - large @ images @ large.T).astype(np.float32, copy=False)


def refine(
    templates: Planes, planes: Planes, windows: Planes, *, side: int, steps: int, coarse: float
) -> tuple[Planes, Planes]:
    """Move the windows of ``planes`` to where they look most like the whole ``templates``.

    Gauss-Newton on the correlation of the band-passed pictures over the four numbers of the window (the enhanced
    correlation coefficient of Evangelidis and Psarakis 2008, with an axis-parallel warp).

    Returns:
        The best windows met, ``[B, 4]``, and their correlations, ``[B]``, -1 to 1.
    """
    target = band_pass(sample_whole(templates, side), fine=0.8, coarse=coarse)
    best, score = windows.copy(), np.full(len(windows), -1, np.float32)
    for step in range(steps + 1):
        moved = band_pass(sample(planes, windows, side), fine=0.8, coarse=coarse)
        mask = _rimless(inside(windows, side))
        correlation = _correlation(target * mask, moved * mask)
        better = correlation > score
        best[better], score[better] = windows[better], correlation[better]
        if step < steps:
            windows = _moved(windows, _newton_step(target, moved, mask, windows))
    return best, score


def first_order_likeness(
    templates: NDArray[np.uint8], planes: NDArray[np.uint8], readers: Readers, chosen: NDArray[np.int16]
) -> Planes:
    """What the correlation would be after the best small move of the windows, to first order.

    The tangent distance (Simard et al. 1993): how much of what a window shows lies in the span of the template and of
    its derivatives by the four numbers of a window. It costs a tenth of `refine`, and returns no windows.

    Args:
        templates: ``[B, S, S]``, each as a whole.
        planes: ``[B, S, S]``.
        readers: of the windows that are looked at, ``FIRST_SIDE`` samples a side.
        chosen: ``[B]``, the window of each plane.

    Returns:
        ``[B]``, 0-1; 0 where the contrast is reversed.
    """
    seen = readers.rows[chosen] @ planes.astype(np.float32) @ readers.columns[chosen]
    target = band_pass(sample_whole(templates.astype(np.float32), FIRST_SIDE), fine=0.8, coarse=3.0)
    inner = slice(_FIRST_RIM, -_FIRST_RIM)
    goal = band_pass(seen, fine=0.8, coarse=3.0)[:, inner, inner].reshape(len(seen), -1)
    span = _tangents(target)[:, :, inner, inner].reshape(len(target), 5, -1)
    normal = span @ span.transpose(0, 2, 1)
    normal += (1e-3 * np.einsum("bii->bi", normal) + 1e-6)[:, :, None] * np.eye(5, dtype=np.float32)
    right = span @ goal[:, :, None]
    weights = np.linalg.solve(normal, right)
    explained = np.einsum("bij,bij->b", weights, right) / np.maximum(np.einsum("bi,bi->b", goal, goal), 1e-9)
    result: Planes = np.sqrt(np.clip(explained, 0, 1)) * (weights[:, 0, 0] > 0)
    return result


def _tangents(images: Planes) -> Planes:
    """``[B, n, n]`` -> ``[B, 5, n, n]``: the images, and how they change as they move and stretch; 0 at the rim."""
    side = images.shape[-1]
    at = (np.arange(side, dtype=np.float32) + 0.5) / side * 2 - 1
    result = np.zeros((len(images), 5, side, side), np.float32)
    result[:, 0] = images
    np.subtract(images[:, 2:], images[:, :-2], out=result[:, 1, 1:-1])
    np.subtract(images[:, :, 2:], images[:, :, :-2], out=result[:, 2, :, 1:-1])
    np.multiply(result[:, 1], at[:, None], out=result[:, 3])
    np.multiply(result[:, 2], at, out=result[:, 4])
    return result


def _newton_step(target: Planes, moved: Planes, mask: Planes, windows: Planes) -> Planes:
    """The least-squares move of (centre y, half y, centre x, half x), ``[B, 4]``."""
    side = target.shape[-1]
    at = (np.arange(side, dtype=np.float32) + 0.5) / side * 2 - 1
    half_y, half_x = (windows[:, 1] - windows[:, 0]) / 2, (windows[:, 3] - windows[:, 2]) / 2
    along_y = np.gradient(moved, axis=1) * (side / 2) / half_y[:, None, None] * mask
    along_x = np.gradient(moved, axis=2) * (side / 2) / half_x[:, None, None] * mask
    columns = (along_y, along_y * at[:, None], along_x, along_x * at)
    jacobian = np.stack([c.reshape(len(c), -1) for c in columns], axis=1).astype(np.float32)
    flat, goal = (moved * mask).reshape(len(moved), -1), (target * mask).reshape(len(moved), -1)
    gain = (flat * goal).sum(1) / np.maximum((flat * flat).sum(1), 1e-9)
    gain = np.maximum(gain, 0.2 * np.sqrt((goal**2).sum(1) / np.maximum((flat**2).sum(1), 1e-9)))
    residual = goal - gain[:, None] * flat
    jacobian *= gain[:, None, None]
    normal = jacobian @ jacobian.transpose(0, 2, 1)
    ridge = 1e-2 * np.trace(normal, axis1=1, axis2=2)[:, None, None] / 4 + 1e-6
    right = jacobian @ residual[:, :, None]
    move: Planes = np.linalg.solve(normal + ridge * np.eye(4, dtype=np.float32), right)[:, :, 0]
    return np.clip(move, -_STEP_LIMIT, _STEP_LIMIT)


def _moved(windows: Planes, move: Planes) -> Planes:
    result = np.empty_like(windows)
    for axis in (0, 2):
        centre = (windows[:, axis] + windows[:, axis + 1]) / 2 + move[:, axis]
        half = np.maximum((windows[:, axis + 1] - windows[:, axis]) / 2 + move[:, axis + 1], _SHORTEST / 2)
        result[:, axis] = np.clip(centre - half, -_OVERHANG, 1 - _SHORTEST)
        result[:, axis + 1] = np.clip(centre + half, _SHORTEST, 1 + _OVERHANG)
    return result


def _correlation(first: Planes, second: Planes) -> Planes:
    product = np.einsum("bij,bij->b", first, second)
    norm = np.einsum("bij,bij->b", first, first) * np.einsum("bij,bij->b", second, second)
    result: Planes = product / np.sqrt(np.maximum(norm, 1e-12))
    return result


def read_windows(windows: Planes, *, source: int, side: int) -> Readers:
    """What reads ``[W, 4]`` windows of planes with ``source`` pixels a side into ``side`` samples."""
    rows = reading_weights(windows[:, 0], windows[:, 1], source=source, side=side)
    columns = reading_weights(windows[:, 2], windows[:, 3], source=source, side=side)
    return Readers(rows, columns.transpose(0, 2, 1))


@cache
def _read_whole(source: int, side: int) -> Readers:
    return read_windows(np.array([[0, 1, 0, 1]], np.float32), source=source, side=side)


def reading_weights(start: Planes, end: Planes, *, source: int, side: int) -> Planes:
    """Triangle-filter rows ``[B, side, source]`` that read ``side`` samples between ``start`` and ``end``."""
    step = (end - start) * source / side
    at = start[:, None] * source - 0.5 + step[:, None] * (np.arange(side, dtype=np.float32) + 0.5)
    at = np.clip(at, 0, source - 1)
    distance = np.abs(at[:, :, None] - np.arange(source, dtype=np.float32))
    weights = np.maximum(0, 1 - distance / np.maximum(step, 1)[:, None, None])
    result: Planes = (weights / weights.sum(-1, keepdims=True)).astype(np.float32)
    return result


@cache
def _gaussian(side: int, sigma: float) -> Planes:
    """A ``[side, side]`` matrix that smooths a column; rows sum to 1, so the border does not darken."""
    distance = np.arange(side)[:, None] - np.arange(side)
    weights = np.exp(-0.5 * (distance / sigma) ** 2)
    weights[weights < 1e-6] = 0  # denormal numbers made every product 40 times slower
    result: Planes = (weights / weights.sum(1, keepdims=True)).astype(np.float32)
    return result


def detail_likeness(templates: Planes, planes: Planes, windows: Planes) -> Planes:
    """Correlation of the whole templates' fine detail with that of the windows: ``[B]``, -1 to 1.

    Detail is band-passed and divided by its local strength, so that a strong outline (a skull, a white wall) counts
    no more than the faint texture inside it. The better of two values counts, with and without the rim: a frame
    drawn around one of the two must not hide a copy.
    """
    first, second = sample_whole(templates, _DETAIL_SIDE), sample(planes, windows, _DETAIL_SIDE)
    return _agreement(first, second, inside(windows, _DETAIL_SIDE))


def clipped_likeness(templates: Planes, planes: Planes, windows: Planes) -> Planes:
    """`detail_likeness` after what is clipped to white in one picture is clipped in the other too.

    A picture that was made brighter has lost the detail of a white wall, and its source still has it.
    """
    seen = sample(planes, windows, templates.shape[-1])
    first = sample_whole(_clipped_as(templates, seen), _DETAIL_SIDE)
    second = sample_whole(_clipped_as(seen, templates), _DETAIL_SIDE)
    return _agreement(first, second, inside(windows, _DETAIL_SIDE))


def _clipped_as(images: Planes, models: Planes) -> Planes:
    """Each of ``[B, S, S]`` cut off at the level that it has where its model turns white."""
    result = images.copy()
    white = models >= WHITE
    for i in np.flatnonzero(white.mean(axis=(1, 2)) >= _CLIPPED):
        # A low quantile, not the minimum: the laid-over pictures are not aligned to the pixel.
        np.minimum(result[i], np.quantile(images[i][white[i]], 0.1), out=result[i])
    return result


def _agreement(first: Planes, second: Planes, mask: Planes) -> Planes:
    """The correlation of fine detail within ``mask [B, n, n]``, with the rim or without it, whichever is better."""
    first, second = _even_detail(first), _even_detail(second)
    rimless = _rimless(mask)
    result: Planes = np.maximum(
        _correlation(first * mask, second * mask), _correlation(first * rimless, second * rimless)
    )
    return result


def _rimless(mask: Planes) -> Planes:
    rim = mask.shape[-1] * _RIM // _DETAIL_SIDE
    result = np.zeros_like(mask)
    result[:, rim:-rim, rim:-rim] = mask[:, rim:-rim, rim:-rim]
    return result


def detail_activity(planes: Planes) -> Planes:
    """The part of each plane ``[N, S, S]`` that shows detail above the noise: ``[N]``, 0-1, of 8 x 8 cells."""
    detail = _even_detail(sample_whole(planes, _DETAIL_SIDE))
    cell = _DETAIL_SIDE // 8
    strength = np.sqrt((detail**2).reshape(-1, 8, cell, 8, cell).mean(axis=(2, 4)))
    result: Planes = (strength > _ACTIVE).mean(axis=(1, 2)).astype(np.float32)
    return result


def _even_detail(images: Planes) -> Planes:
    detail = band_pass(images, fine=0.6, coarse=1.2)
    spread = _gaussian(images.shape[-1], 2.0)
    strength = np.maximum(spread @ (detail * detail) @ spread.T, 0)
    return (detail / np.sqrt(strength + _NOISE**2)).astype(np.float32, copy=False)
