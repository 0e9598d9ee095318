"""What `report.json` holds and `dtc compress --json` prints, declared once.

Numbers that are not finite are null. Arrays of numbers are rounded to seven digits, which is what float32 tells.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field

from dtc.checking import CheckReport
from dtc.checking.sites import SiteChecks
from dtc.document import Document, DocumentPart, Real
from dtc.report.search_document import SearchReport
from dtc.site_facts import SiteFacts

SCHEMA: Final = "dtc-report/1"


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _rounded(values: Any) -> Any:
    return [float(f"{value:.7g}") for value in values]


Number = Annotated[float | None, BeforeValidator(_finite)]
Numbers = Annotated[tuple[float, ...], BeforeValidator(_rounded)]


class FileFacts(DocumentPart):
    """A file of a model: its bytes, and the SHA-256 of its content (`sampled:` where it is above 256 MB)."""

    name: str
    bytes: int
    sha256: str


class ModelFiles(DocumentPart):
    """A model: the file itself, then the external data that it names."""

    files: tuple[FileFacts, ...] = Field(min_length=1)

    @property
    def name(self) -> str:
        """Name of the model's own file."""
        return self.files[0].name

    @property
    def bytes(self) -> int:
        """Bytes of all files."""
        return sum(file.bytes for file in self.files)


class Ratios(DocumentPart):
    """The three ratios: of the compressed sites, of the whole file, and the stored bits per weight of those sites."""

    sites: float
    file: float
    bits_per_weight: float


class Histogram(DocumentPart):
    """Weights in bins of equal width before and after; counts are of weights.

    `edges` has one number more than the counts. The first and the last bin also count what lies beyond them, so that a
    few outliers do not hide the shape; values that are not finite are not counted. The middle bin is centred at zero.
    """

    edges: Numbers
    before: tuple[int, ...]
    after: tuple[int, ...]


class SpectrumPair(DocumentPart):
    """Singular values of one matrix, falling: of the original, and of the low-rank product written (`rank` many)."""

    before: Numbers
    after: Numbers


class WeightsChange(DocumentPart):
    """What happened to the weights of a site, all of its matrices together.

    `difference` is the relative squared difference `|W - W'|^2 / |W|^2` of the weights written from the original
    model's; retraining moves weights on purpose, so this is no error then. `zeros` are shares, before and after.
    """

    difference: Number
    zeros: tuple[float, float]
    histogram: Histogram
    spectra: tuple[SpectrumPair, ...] = ()


class StandingForReader(DocumentPart):
    """How one node that reads a weight gets it: `how` is one of `dtc.passes.lower.lowered.How`.

    `speed` is how many times faster than the dense product it is expected to be.
    """

    node: str
    role: str
    how: str
    reason: str
    speed: Number


class Standing(DocumentPart):
    """How a compressed site stands in the file, as its lowering told."""

    how: str
    reason: str
    speed: Number
    readers: tuple[StandingForReader, ...]
    caveats: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """The reasons, and what has to be told with them."""
        return "; ".join((self.reason, *self.caveats))


class SiteOutcome(SiteFacts):
    """One site: what was done to it, or why nothing was.

    Attributes:
        method: The method; None where the site was left alone.
        form: Kind of the compressed form; None likewise.
        detail: What is particular to the form, in words (its rank, for one).
        stored_bytes: Bytes of the form's arrays, parts shared with other sites counted in full.
        file_bytes: Bytes that the site takes in the file: arrays, tables, nodes, names; what several sites need
            together is divided among them.
        ratio: Bytes before divided by those after.
        bits_per_weight: Stored bits per weight, all metadata counted.
        error: The method's own, `|W - W'|^2 / |W|^2` against the weights that it was given; None after retraining,
            whose last weights are gone.
        reason: Why the site was left alone.
        lowered: How it stands in the file; None where it was left alone.
        weights: What became of its weights; None where they were left alone or are not described.
    """

    method: str | None
    form: str | None
    detail: str
    stored_bytes: int
    file_bytes: int
    ratio: float
    bits_per_weight: float
    error: Number
    reason: str | None
    lowered: Standing | None = None
    weights: WeightsChange | None = None


class Jump(DocumentPart):
    """One distortion: the loss on the step's batch just before and just after it."""

    step: int
    before: Number
    after: Number


class EvaluationPoint(DocumentPart):
    """Distorted weights on the evaluation data."""

    step: int
    loss: Number
    value: Number
    best: bool


class Curve(DocumentPart):
    """The loss of the training steps; each point is of `every` steps: the last one's number, mean, least, greatest."""

    every: int
    step: tuple[int, ...]
    mean: Numbers
    least: Numbers
    greatest: Numbers


class TrainingOutcome(DocumentPart):
    """What a retraining did.

    Attributes:
        best_step: The step whose weights are the result; null while there is none.
        evaluated_on: Which samples the evaluations are of, in words.
    """

    engine: str
    steps: int
    planned: int
    parameters: int
    best_step: int | None
    metric: str | None
    evaluated_on: str = ""
    seconds: dict[str, float]
    frozen: dict[str, str]
    notes: tuple[str, ...]
    curve: Curve
    distortions: tuple[Jump, ...]
    evaluations: tuple[EvaluationPoint, ...]

    @property
    def distortion_share(self) -> float:
        """Share of the training time that the distortions took."""
        return self.seconds.get("distortion", 0.0) / max(sum(self.seconds.values()), 1e-9)


class Fidelity(DocumentPart):
    """The written file against the distorted dense model that it was made of: rounding and nothing else.

    Attributes:
        relative_l2: Largest relative L2 difference of an output; None where none was compared.
        quantizers: Quantizers of activations in the file; where there are any, both are compared without them.
    """

    relative_l2: Real | None
    quantizers: int


class Report(Document):
    """The whole report of a compression; what a finished run alone has is null in the others.

    Attributes:
        created: When the report was made.
        versions: Of dtc, of what it ran on, and the machine.
        model: The original.
        output: The written model.
        recipe: What was asked for.
        ratios: What was gained.
        check: The written model against the original, as `dtc check --json` tells it; files go by their names.
        by_site: The compressed sites of the written model, one by one; null where none was written.
        fidelity: The written model against the distorted one; null where the whole was not run.
        sites: All sites of the original.
        training: How the retraining went; null where there was none.
        search: The search that chose methods and rates; null where the user did.
        notes: What was done beside what the recipe says, in words.
    """

    schema_: Literal["dtc-report/1"] = Field(SCHEMA, alias="schema")
    created: str
    versions: dict[str, str]
    model: ModelFiles
    output: ModelFiles | None
    recipe: dict[str, Any]
    ratios: Ratios | None
    check: CheckReport | None
    fidelity: Fidelity | None
    by_site: SiteChecks | None = None
    sites: tuple[SiteOutcome, ...]
    training: TrainingOutcome | None
    search: SearchReport | None = None
    notes: tuple[str, ...] = ()
