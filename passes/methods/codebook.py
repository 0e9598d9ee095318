"""Codebooks by gradient-weighted k-means, of scalars or of blocks (product quantization).

S. Sakthi, R. Yadla, P. Pawate: Towards model quantization on the resilient edge (Bin & Quant and GWK), 2022
(arXiv 2210.05111). The weighting of the centroids is theirs. Ours: the gradient weights the distances too (`beta`),
so that centroids and assignment lower one objective; `--beta 0` is the plain distance.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Container, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, field_validator, model_validator

from dtc.device_arrays import beside, namespace
from dtc.forms import Array, Codebook, Codewords, Form, Grid
from dtc.forms.codewords import PRECISIONS
from dtc.forms.huffman import MOST_ENTRIES
from dtc.passes.method import DistortionStep, Grams, Latents, Method, Need, Outcome, Skip, Weights
from dtc.passes.options import Compensation, Huffman, Options, Share, Try
from dtc.passes.solvers import device_clustering
from dtc.passes.solvers.blocks import CodedBlocks, from_labels, previous_codewords, refuse_not_finite, to_blocks
from dtc.passes.solvers.clustering import Labels, Points, assign, centroids, cluster, nearest_indices
from dtc.passes.solvers.codeword_training import CodewordLatents
from dtc.passes.solvers.compensated_codebook import compensated_labels
from dtc.passes.solvers.even_spacing import evenly_spaced

_LARGEST_KERNEL = 25
_GRID_ROUNDS = 5
_FEWEST = 2


class CodebookOptions(Compensation):
    """Size and precision of the codebook, and what counts in making it."""

    codewords: Annotated[int, Try(4, 8, 16, 32, 64, 256, second=(16,))] = Field(
        256, ge=2, le=2**16, description="entries of a codebook; fewer where a site has not twice as many blocks"
    )
    block: Annotated[str | int, Try("auto", 4, 2, 1, crossed=True, second=(1,))] = Field(
        "auto", description="weights a codeword; auto: a kernel of up to 5x5, else 8 along the input, 4 where few"
    )
    index_bits: Annotated[float | None, Try(2, 3, 4, 5, 6, alone=True, between=0.5)] = Field(
        None,
        ge=1,
        le=9,
        description="bits that the index of a weight takes on average, Huffman coded: the codewords are evenly spaced "
        "scalars then, as many as that gives; none: --codewords of --block weights by k-means",
    )
    codeword_bits: Annotated[int, Try(4, 8, 16)] = Field(
        16, description="bits of a number in the codebook: 2 to 8 (a grid), 16 or 32 (floats)"
    )
    share: Share = False
    gradient_weight: float = Field(1.0, ge=0, description="exponent of the gradient's magnitude; 0: plain k-means")
    epsilon: float = Field(0.01, gt=0, description="added to the gradient's magnitude, of mean 1")
    beta: float = Field(1.0, ge=0, description="exponent of the weights in the distances; 0: in the centroids alone")
    keep_assignments: bool = Field(
        default=False,
        description="after the first distortion train the codewords instead of the weights",
    )
    ewgs_delta: float = Field(
        1e-3,
        ge=0,
        description="of codewords of 2 to 8 bits in training: how much rounding scales gradients; 0: none",
    )
    huffman: Huffman = False

    @field_validator("block")
    @classmethod
    def _a_number_or_auto(cls, value: str | int) -> str | int:
        if value == "auto":
            return value
        if not str(value).isdecimal() or not 1 <= int(value) <= 64:
            raise ValueError("give auto or a number from 1 to 64")
        return int(value)

    @model_validator(mode="after")
    def _index_bits_of_scalars(self) -> Self:
        if self.index_bits is not None and self.block not in {"auto", 1}:
            raise ValueError("--index-bits is of scalars: leave out --block, or --index-bits")
        if self.index_bits is not None and "codewords" in self.model_fields_set:
            raise ValueError("--index-bits tells how many codewords there are: leave out --codewords, or --index-bits")
        return self

    @field_validator("codeword_bits")
    @classmethod
    def _a_precision(cls, value: int) -> int:
        if value not in PRECISIONS:
            raise ValueError("give 2 to 8, 16 or 32")
        return value


class GradientWeightedKMeans(Method):
    """Replace each block of weights by the nearest of a few codewords."""

    name: ClassVar[str] = "codebook"
    title: ClassVar[str] = "codebook (gradient-weighted k-means)"
    paper: ClassVar[str] = (
        "S. Sakthi, R. Yadla, P. Pawate: Towards model quantization on the resilient edge, 2022 (arXiv 2210.05111)"
    )
    options_type: ClassVar[type[Options]] = CodebookOptions
    example: ClassVar[Mapping[str, Any]] = {"codewords": 16, "block": 1}
    gives: ClassVar[type[Form]] = Codebook
    on_device: ClassVar[bool] = True
    heeds_mask: ClassVar[bool] = True
    compensates: ClassVar[str | None] = "GPTQ: later inputs make up for the errors of blocks coded before (GPTVQ)"
    latent_option: ClassVar[str | None] = "keep_assignments"
    needs: frozenset[Need] = frozenset({"gradient", "previous"})
    options: CodebookOptions

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        if self.options.gradient_weight == 0:
            self.needs = self.needs - {"gradient"}

    @classmethod
    def estimate(cls, rows: int, cols: int) -> str:
        """Return what 256 codewords of eight half-precision weights give."""
        stored = rows * -(-cols // 8) + 256 * 8 * 2
        ratio = rows * cols * 4 / stored
        return f"256 codewords of 8: {ratio:.1f}x" if ratio > 1 else "256 codewords of 8 are more than its weights"

    @property
    def by_site(self) -> bool:
        """True unless sites share a table."""
        return not self.options.share

    def distort(self, weights: Sequence[Weights], at: DistortionStep = DistortionStep()) -> dict[str, Outcome]:
        """Return forms for every site that gets smaller by them.

        Raises:
            UsageError: Errors are to be compensated, and the run has no calibration data.
        """
        outcomes: dict[str, Outcome] = {}
        groups: dict[object, list[Weights]] = {}
        weights = [w if self._stays(w) else w.on_host() for w in weights]
        # A table each for a site; with `share` one for all that are cut alike.
        for w in weights:
            block = self._block(w)
            if (reason := refuse_not_finite(w)) is not None:
                outcomes[w.site] = reason
            elif self.options.keep_assignments and (unchanged := _unchanged(w)):
                outcomes[w.site] = unchanged
            else:
                groups.setdefault((block, w.kernel) if self._shares(w, block) else w.site, []).append(w)
        for group in groups.values():
            outcomes |= self._group(group, self._block(group[0]), at)
        return outcomes

    def latents(self, forms: Mapping[str, tuple[Form, ...]], trained: Container[str]) -> Latents | None:
        """Return the codewords to train where assignments stay, without tables that a frozen site reads."""
        if not self.trains_latents:
            return None
        coded = {site: tuple(f for f in one if isinstance(f, Codebook)) for site, one in forms.items()}
        # A table that a frozen site reads cannot change; nor can then the other sites that read it.
        tables = {site: one[0].name or site for site, one in coded.items() if one}
        fixed = {table for site, table in tables.items() if site not in trained}
        held = {site: coded[site] for site, table in tables.items() if table not in fixed}
        return CodewordLatents(held, self.options.ewgs_delta) if held else None

    def _block(self, w: Weights) -> int:
        """Return the weights a codeword: a whole kernel, or eight along the input while a codeword has 16 members."""
        if self.options.index_bits is not None:
            return 1
        if isinstance(self.options.block, int):
            return self.options.block
        kernel = int(np.prod(w.kernel)) if w.kernel else 1
        if 1 < kernel <= _LARGEST_KERNEL:
            return kernel
        return 8 if math.prod(w.matrices.shape) >= 8 * 16 * self.options.codewords else 4

    @property
    def _most(self) -> int:
        """Codewords at the most; evenly spaced ones far out take few bits, as they are rare."""
        return self.options.codewords if self.options.index_bits is None else MOST_ENTRIES

    def _shares(self, w: Weights, block: int) -> bool:
        """Return whether a site reads the table of all: one of few blocks is most often the first or the last layer.

        Its blocks are unlike all others, count for nothing in the means, and are wrong by far (ResNet-20: 17 points).
        """
        return self.options.share and 2 * _blocks(w, block) >= self.options.codewords

    def _group(self, group: list[Weights], block: int, at: DistortionStep) -> dict[str, Outcome]:
        """Code sites with one codebook between them."""
        blocks = sum(_blocks(w, block) for w in group)
        count = _few_enough(self._most, blocks)
        if count < _FEWEST:
            return {w.site: Skip(f"{blocks} blocks of {block} are too few for a codebook") for w in group}
        # Sites of one table differ in scale: each is divided by its standard deviation, which its form keeps as gain.
        shared = self.options.share and len(group) > 1
        gains = [_deviation(w) if shared else None for w in group]
        points = [self._points(w, block, gain) for w, gain in zip(group, gains, strict=True)]
        names = "|".join(w.site for w in group)
        rng = np.random.default_rng([at.seed, zlib.crc32(names.encode())])
        codewords = self._codewords(_join(points), previous_codewords(group[0], count, block), count, rng)
        name = _table_name(block, group[0].kernel) if shared else None
        coded = (self._code(w, p, codewords, gain, name) for w, p, gain in zip(group, points, gains, strict=True))
        return {w.site: c.outcome() for w, c in zip(group, coded, strict=True)}

    def _stays(self, w: Weights) -> bool:
        """Return whether a site is coded on the device that it lies on: from the last codewords, one table a site."""
        options, block = self.options, self._block(w)
        if isinstance(w.matrices, np.ndarray) or w.mask is not None or w.out_in[1] % block:
            return False
        if options.share or options.keep_assignments or options.compensate or options.codeword_bits < 16:
            return False
        if options.index_bits is not None:
            return False
        return previous_codewords(w, _few_enough(options.codewords, _blocks(w, block)), block) is not None

    def _device_points(self, w: Weights, block: int) -> Points:
        blocks = w.matrices.reshape(-1, block)
        if w.gradient is None or not self._weighs(w):
            return Points(blocks)
        size = abs(beside(w.gradient, blocks))
        mean = float(size.mean(dtype=namespace(blocks).float64))
        relative = size / mean if mean > 0 else namespace(blocks).ones_like(size)
        importance = ((relative + self.options.epsilon) ** self.options.gradient_weight).reshape(-1, block)
        return Points(blocks, importance, None if self.options.beta == 0 else importance**self.options.beta)

    def _points(self, w: Weights, block: int, gain: np.float32 | None) -> Points:
        """Return the blocks of a site; what is pruned or padding counts neither in a mean nor in a distance."""
        if not isinstance(w.matrices, np.ndarray):
            return self._device_points(w, block)
        blocks = to_blocks(w.matrices if gain is None else w.matrices / gain, block).astype(np.float32, copy=False)
        if w.mask is None and w.out_in[1] % block == 0 and not self._weighs(w):
            return Points(blocks)
        used = w.mask if w.mask is not None else np.ones(w.matrices.shape, dtype=bool)
        kept = to_blocks(used, block).astype(np.float32)
        # Weights of zeros and ones where some do not count; None, which is faster, where all do.
        everything = None if kept.all() else kept
        blocks = np.where(kept == 0, np.float32(0), blocks)
        if w.gradient is None or not self._weighs(w):
            return Points(blocks, everything, everything)
        size = np.abs(w.gradient)
        mean = float(size[used].mean(dtype=np.float64)) if used.any() else 0.0
        # Importance (|g| / mean + epsilon)^gradient_weight. The mean is of the weights that count, so that epsilon
        # means the same in every site.
        relative = size / mean if mean > 0 else np.ones_like(size)
        importance = to_blocks((relative + self.options.epsilon) ** self.options.gradient_weight, block) * kept
        distance = everything if self.options.beta == 0 else importance**self.options.beta * kept
        return Points(blocks, importance.astype(np.float32), None if distance is None else distance.astype(np.float32))

    def _weighs(self, w: Weights) -> bool:
        return w.gradient is not None and self.options.gradient_weight != 0

    def _codewords(self, points: Points, start: Array | None, count: int, rng: np.random.Generator) -> Codewords:
        if not isinstance(points.blocks, np.ndarray):
            assert start is not None, "without codewords to start from a site is coded in host memory"
            return Codewords.encode(device_clustering.cluster(points, start, rng), self.options.codeword_bits)
        used = points if points.distance is None else points.take(np.flatnonzero(points.distance.any(axis=1)))
        if len(used.blocks) == 0:
            used = Points(np.zeros((1, points.blocks.shape[1]), np.float32))  # all is pruned: any codeword does
        if self.options.index_bits is not None:
            spaced = evenly_spaced(used, self.options.index_bits, count)
            return Codewords.encode(spaced, self.options.codeword_bits)
        values = cluster(used, count, rng, start)
        return fit_precision(used, values, self.options.codeword_bits, rng)

    def _code(
        self, w: Weights, points: Points, codewords: Codewords, gain: np.float32 | None, name: str | None
    ) -> CodedBlocks:
        labels: npt.NDArray[np.integer[Any]]
        if (grams := self.moments(w)) is not None:
            labels = _compensated(w, grams, codewords.values if gain is None else codewords.values * gain)
        elif isinstance(points.blocks, np.ndarray):
            labels = nearest_indices(points, codewords.values)
        else:
            labels = device_clustering.nearest_indices(points, codewords.values)
        indices = from_labels(labels, w.matrices.shape, codewords.block)
        huffman = self.options.huffman or self.options.index_bits is not None
        return CodedBlocks(w, indices, codewords, gain, name, w.mask, huffman=huffman)


def _table_name(block: int, kernel: Sequence[int]) -> str:
    """Return the name of the table of all sites that are cut alike: `codewords.8`, or `codewords.9.3x3` of kernels."""
    return ".".join(["codewords", str(block), *(["x".join(map(str, kernel))] if kernel else [])])


def _blocks(w: Weights, block: int) -> int:
    """Return the blocks of a site: its rows, in all matrices, times the blocks of a row."""
    return w.out_in[0] * len(w.matrices) * -(-w.out_in[1] // block)


def _few_enough(count: int, blocks: int) -> int:
    """Return the codewords of so many blocks: `count`, or a half, a quarter and so on, so that each has two members."""
    # Halves, so that an index has a bit less: 256 codewords for 256 blocks become 128 of 7 bits.
    while 2 * count > blocks and count > 1:
        count //= 2
    return count


def _unchanged(w: Weights) -> tuple[Form, ...]:
    """Return the forms of the last distortion if the weights still equal their dense matrices; else none."""
    forms = w.previous or ()
    return forms if forms and np.array_equal(np.stack([form.dense() for form in forms]), w.matrices) else ()


def fit_precision(points: Points, values: Array, bits: int, rng: np.random.Generator) -> Codewords:
    """Store codewords in the given precision; a grid of few levels is fitted in turn with the means on it.

    The best of a few rounds is kept; with floats there is nothing to fit.
    """
    if bits >= 16:
        return Codewords.encode(values, bits)
    best, least = Codewords.encode(values, bits), np.inf
    for _ in range(_GRID_ROUNDS):
        labels, _ = assign(points, values)
        codewords = Codewords.encode(values, bits, best_grid(values, np.bincount(labels, minlength=len(values)), bits))
        labels, objective = assign(points, codewords.values)
        if objective < least:
            best, least = codewords, objective
        values = centroids(points, labels, codewords.values, rng)
    return best


def best_grid(values: Array, members: Labels, bits: int) -> Grid:
    """Return the grid, of those that span a share of the codewords' range, of least squared error over all members."""
    # Shares from 1 down to 1/4 of the range, about the mean of the weights: a few far codewords cost less than coarse
    # levels for all.
    middle = float(np.average(values.mean(axis=1), weights=members))
    low, high = float(values.min()) - middle, float(values.max()) - middle
    grids = [Grid.spanning(middle + low * share, middle + high * share, bits) for share in np.linspace(1, 0.25, 16)]

    def error(grid: Grid) -> float:
        return float((members[:, None] * np.square(values - grid.values(grid.levels(values)))).sum(dtype=np.float64))

    return min(grids, key=error)


def _compensated(w: Weights, grams: Grams, values: Array) -> Labels:
    masks = w.mask if w.mask is not None else [None] * len(grams)
    # `parts` are matrix, second moments and mask; codewords stand between them in the call.
    found = [compensated_labels(*parts[:2], values, parts[2]) for parts in zip(w.matrices, grams, masks, strict=True)]
    return np.concatenate([labels.ravel() for labels in found])


def _deviation(w: Weights) -> np.float32:
    kept = w.matrices if w.mask is None else w.matrices[w.mask]
    return np.float32(kept.std(dtype=np.float64)) if kept.size and kept.std() > 0 else np.float32(1)


def _join(points: list[Points]) -> Points:
    """Return all points together; where some have weights, points without them get ones."""
    if len(points) == 1:
        return points[0]
    blocks = np.concatenate([p.blocks for p in points])
    columns: list[Array | None] = []
    for parts in ([p.importance for p in points], [p.distance for p in points]):
        some = any(part is not None for part in parts)
        filled = [np.ones_like(p.blocks) if part is None else part for p, part in zip(points, parts, strict=True)]
        columns.append(np.concatenate(filled) if some else None)
    return Points(blocks, *columns)
