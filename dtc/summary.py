"""What a compression did to each site, and the three ratios."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dtc.forms import Array, Form, stored_bytes
from dtc.graph import Site


@dataclass(frozen=True)
class SiteRow:
    """One site of a summary.

    Attributes:
        name: Name of the site.
        role: What it does.
        shape: Shape of the dense initializer.
        form: Kind of the compressed form, or None where the site was left alone.
        detail: What is particular to the form, in words (its rank, for one).
        dense_bytes: Bytes before.
        stored_bytes: Bytes after, shared parts counted in full.
        error: Relative squared error of the form against the weights that were distorted last: `|W - W'|^2 / |W|^2`.
        reason: Why the site was left alone.
        lowered: How its readers get the compressed weight, and why.
    """

    name: str
    role: str
    shape: tuple[int, ...]
    form: str | None
    detail: str
    dense_bytes: int
    stored_bytes: int
    error: float | None
    reason: str | None
    lowered: str | None


@dataclass(frozen=True)
class Summary:
    """All sites, and the ratios.

    Attributes:
        sites: A row a site.
        sites_ratio: Dense bytes of the compressed sites divided by their stored bytes.
        file_ratio: Bytes of the whole file before divided by those after.
        bits_per_weight: Stored bits per weight of the compressed sites, all metadata counted.
        file_bytes: Bytes of the file before and after, external data included.
    """

    sites: tuple[SiteRow, ...]
    sites_ratio: float
    file_ratio: float
    bits_per_weight: float
    file_bytes: tuple[int, int]


def summarise(
    sites: Sequence[Site],
    forms: Mapping[str, tuple[Form, ...]],
    skipped: Mapping[str, str],
    errors: Mapping[str, float],
    lowered: Mapping[str, str],
    file_bytes: tuple[int, int],
) -> Summary:
    """Return the summary of a compression.

    `errors` holds the relative squared error of each compressed site, `lowered` how it came into the graph.
    """
    rows = tuple(
        _row(site, forms.get(site.name), skipped.get(site.name), errors.get(site.name), lowered.get(site.name))
        for site in sites
    )
    touched = [site for site in sites if site.name in forms]
    dense = sum(site.nbytes for site in touched)
    stored = stored_bytes(form for site in touched for form in forms[site.name])
    weights = sum(site.size for site in touched)
    return Summary(
        sites=rows,
        sites_ratio=dense / stored if stored else 1.0,
        file_ratio=file_bytes[0] / file_bytes[1],
        bits_per_weight=8 * stored / weights if weights else 0.0,
        file_bytes=file_bytes,
    )


def relative_error(before: Array, after: Array) -> float:
    """Return `|before - after|^2 / |before|^2`; 0 where both are zero."""
    scale = float(np.square(before, dtype=np.float64).sum())
    difference = float(np.square(before.astype(np.float64) - after).sum())
    return difference / scale if scale else float(difference > 0)


def _row(
    site: Site, forms: tuple[Form, ...] | None, reason: str | None, error: float | None, lowered: str | None
) -> SiteRow:
    stored = sum(form.nbytes for form in forms) if forms else site.nbytes
    return SiteRow(
        name=site.name,
        role=str(site.role),
        shape=site.shape,
        form=forms[0].kind if forms else None,
        detail=forms[0].detail if forms else "",
        dense_bytes=site.nbytes,
        stored_bytes=stored,
        error=error,
        reason=None if forms else reason,
        lowered=lowered,
    )
