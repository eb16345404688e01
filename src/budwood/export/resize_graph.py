"""`Preprocess` as an ONNX graph that gives the very bytes that Pillow gives: reduce, resize, resize, crop.

Pillow resizes in two passes, with weights in steps of 2**-22, and rounds to whole grey levels after each. So does this
graph, with two matrix products a pass. What a picture's size decides (weights, crop) is computed in the graph.
Whether the bytes are the same is measured at every export, by `parity.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from budwood.data.preprocess import Preprocess
from budwood.export.graph import Graph, Tensor

_WEIGHT_BITS = 22  # Pillow's fixed-point weights of 8-bit pictures
# A weight has more bits than float32 can add up exactly, so its upper and lower half are multiplied apart.
_HALF = float(2 ** (_WEIGHT_BITS // 2))
_RADIUS = {"bilinear": 1.0, "bicubic": 2.0}
_QUARTERS = 4.0
_REDUCE_BITS = 24  # Pillow divides a sum by n as * (2**24 // n) >> 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Resize:
    """One axis of one resize, as tensors of shape [1].

    ``length`` of the source's pixels (not whole where squares were cut at its edge) become ``size``.
    ``source``: how many pixels it has; ``start``, ``stop``: which results are needed.
    """

    source: Tensor
    length: Tensor
    size: Tensor
    start: Tensor
    stop: Tensor
    radius: float

    @property
    def scale(self) -> Tensor:
        """Source pixels a result, float64."""
        return self.length / self.size.to(np.float64)

    @property
    def reach(self) -> Tensor:
        """How far from its centre a result looks, in source pixels."""
        return self.scale.at_least(1.0) * self.radius

    def needed(self) -> tuple[Tensor, Tensor]:
        """The source's pixels that the needed results look at, from and up to; a few more may be among them."""
        low = (self.start.to(np.float64) + 0.5) * self.scale - self.reach
        high = (self.stop.to(np.float64) - 0.5) * self.scale + self.reach
        start = low.apply("Floor").to(np.int64).at_least(0)
        return start, (high.apply("Ceil").to(np.int64) + 1).at_most(self.source)


def pixels_graph(images: Tensor, preprocess: Preprocess) -> Tensor:
    """Pictures ``[N, H, W, 3]`` uint8 of any size -> ``[N, 3, S, S]`` float32 with whole values 0-255."""
    graph = images.graph
    height, width = images.size(1), images.size(2)
    shorter = height.at_most(width)
    step = (shorter / preprocess.store_side).at_least(1)
    axes = [_axis(preprocess, length, shorter=shorter, step=step) for length in (height, width)]
    shortest = axes[0][1].at_most(axes[1][1])
    seconds = [_second(preprocess, kept, shortest=shortest) for _, kept in axes]
    firsts = [
        Resize(
            source=coarse,
            length=_as_pillow_takes_boxes(length.to(np.float64) / step.to(np.float64)),
            size=kept,
            start=second.needed()[0],
            stop=second.needed()[1],
            radius=_RADIUS["bicubic"],
        )
        for (coarse, kept), length, second in zip(axes, (height, width), seconds, strict=True)
    ]
    rows, columns = firsts[0].needed(), firsts[1].needed()
    coarse = _reduced(images, step, rows=rows, columns=columns)
    kept = resized(graph, coarse, firsts[0], firsts[1], filter_name="bicubic", rows=rows, columns=columns)
    around = seconds[0].needed(), seconds[1].needed()
    return resized(graph, kept, *seconds, filter_name=preprocess.interpolation, rows=around[0], columns=around[1])


def resized(
    graph: Graph,
    pictures: Tensor,
    down: Resize,
    across: Resize,
    *,
    filter_name: str,
    rows: tuple[Tensor, Tensor],
    columns: tuple[Tensor, Tensor],
    left: float = 0.0,
    top: float = 0.0,
) -> Tensor:
    """Resize ``[N, 3, h, w]`` float32 along both axes as Pillow does, to the results that are needed.

    Args:
        rows, columns: which of the source's pixels ``pictures`` holds.
        left, top: where the box that is resized begins.
    """
    lost_down, lost_across = down.source - down.size, across.source - across.size
    # Pillow (13) begins with the columns where that leaves less to do for the rows.
    first_down = graph.node("And", lost_down > 0, lost_down > lost_across * 2)
    vertical = _weights(graph, down, rows, filter_name=filter_name, begin=top)
    horizontal = _weights(graph, across, columns, filter_name=filter_name, begin=left)
    first = [graph.choose(first_down, *halves) for halves in zip(vertical, horizontal, strict=True)]
    second = [graph.choose(first_down, *halves) for halves in zip(horizontal, vertical, strict=True)]
    out = graph.choose(first_down, pictures.transpose(0, 1, 3, 2), pictures)
    out = _whole_levels(*(out @ half.transpose(1, 0) for half in first))
    out = _whole_levels(*(half @ out for half in second))
    return graph.choose(first_down, out.transpose(0, 1, 3, 2), out)


def _axis(preprocess: Preprocess, length: Tensor, *, shorter: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
    """The lengths along one axis after the two steps of `data.preprocess.reduce_to`."""
    side = preprocess.store_side
    wanted = ((length * side).to(np.float64) / shorter.to(np.float64)).apply("Round").to(np.int64).at_least(side)
    return (length + step - 1) / step, length.graph.where(shorter > side, wanted, length)


def _second(preprocess: Preprocess, kept: Tensor, *, shortest: Tensor) -> Resize:
    """The resize to the network's input, of which the centre is kept."""
    scaled = max(preprocess.size, round(preprocess.size / preprocess.crop_fraction))
    scale = kept.graph.constant([scaled], np.float64) / shortest.to(np.float64)
    size = (kept.to(np.float64) * scale).apply("Round").to(np.int64).at_least(scaled)
    start = (size - preprocess.size) / 2
    return Resize(
        source=kept,
        length=kept.to(np.float64),
        size=size,
        start=start,
        stop=start + preprocess.size,
        radius=_RADIUS[preprocess.interpolation],
    )


def _reduced(images: Tensor, step: Tensor, *, rows: tuple[Tensor, Tensor], columns: tuple[Tensor, Tensor]) -> Tensor:
    """Means of squares of ``step`` pixels, as `PIL.Image.Image.reduce` rounds them: ``[N, 3, h, w]`` float32."""
    graph = images.graph
    counts, lengths, out = [], [], images
    for axis, (start, stop) in ((1, rows), (2, columns)):
        length = images.size(axis)
        out = out.slice(start * step, (stop * step).at_most(length), axis=axis)
        blocks = graph.arange(start, stop)
        counts.append((length - blocks * step).at_most(step))
        lengths.append(stop - start)
    (high, wide), count = lengths, images.size(0)
    zero = graph.ints(0)
    missing = [length * step - out.size(axis) for axis, length in ((1, high), (2, wide))]
    ends = graph.concat(zero, zero, zero, zero, zero, *missing, zero)
    padded = graph.node("Pad", out.to(np.float32), ends)
    sums = padded.reshape(count, high, step, wide * step * 3).sum(2)
    sums = sums.reshape(count, high, wide, step, 3).sum(3)
    number = counts[0].reshape(-1, 1, 1) * counts[1].reshape(1, -1, 1)
    return _shares(sums.to(np.int64), number).to(np.float32).transpose(0, 3, 1, 2)


def _shares(sums: Tensor, number: Tensor) -> Tensor:
    """``(sums + number // 2) * (2**24 // number) >> 24``, without numbers that 32 bits cannot hold."""
    multiplier = number.graph.constant([2**_REDUCE_BITS], np.int64) / number
    lost = number.graph.constant([2**_REDUCE_BITS], np.int64) - number * multiplier
    total = sums + number / 2
    whole = total / number
    rest = total - whole * number
    return whole - (rest * multiplier < whole * lost).to(np.int64)


def _weights(
    graph: Graph, resize: Resize, held: tuple[Tensor, Tensor], *, filter_name: str, begin: float
) -> tuple[Tensor, Tensor]:
    """Weights ``[results, pixels held]`` times 2**22, whole numbers, as their upper and lower halves in float32."""
    twice = resize.size.to(np.float64) * 2.0
    # A place minus a centre, times twice the size. Each product is exact in float32, so that a runtime without float64
    # (OpenVINO) loses no digits in the difference either.
    length = (resize.length * _QUARTERS).apply("Floor") / _QUARTERS
    results = (graph.arange(resize.start, resize.stop).to(np.float64) * 2.0 + 1.0).reshape(-1, 1)
    places = (graph.arange(*held).to(np.float64) + 0.5).reshape(1, -1)
    apart = (places - begin) * twice - results * length - results * (resize.length - length)
    far = apart / (resize.scale.at_least(1.0) * twice)
    raw = _FILTERS[filter_name](graph, far.apply("Abs"))
    shares = raw / raw.sum(1, keep=True) * 2.0**_WEIGHT_BITS
    whole = shares.apply("Sign") * (shares.apply("Abs") + 0.5).apply("Floor")
    upper = (whole / _HALF + 0.5).apply("Floor")
    return upper.to(np.float32), (whole - upper * _HALF).to(np.float32)


def _bilinear(graph: Graph, far: Tensor) -> Tensor:
    return graph.constant([1.0], np.float64) - far.at_most(1.0)


def _bicubic(graph: Graph, far: Tensor) -> Tensor:
    """Keys' cubic with a = -0.5."""
    near = (far * 1.5 - 2.5) * far * far + 1.0
    beyond = (((far - 5.0) * far + 8.0) * far - 4.0) * -0.5
    return graph.where(far < 1.0, near, graph.where(far < 2.0, beyond, far * 0.0))


_FILTERS = {"bilinear": _bilinear, "bicubic": _bicubic}


def _whole_levels(upper: Tensor, lower: Tensor) -> Tensor:
    """``upper * 2**11 + lower``, divided by 2**22, rounded and held to 0-255; every step is exact in float32."""
    levels = ((upper + (lower / _HALF).apply("Floor") + _HALF / 2) / _HALF).apply("Floor")
    return levels.at_least(0.0).at_most(255.0)


def _as_pillow_takes_boxes(length: Tensor) -> Tensor:
    """Pillow keeps the corners of a box in float32."""
    return length.to(np.float32).to(np.float64)
