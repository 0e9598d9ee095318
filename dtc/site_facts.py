"""What a site is, as every document tells it; what may be done to it and what was done is told beside it."""

from __future__ import annotations

from typing import Any

from dtc.document import DocumentPart
from dtc.graph import Site


class SiteFacts(DocumentPart):
    """A site of a model as it came.

    Attributes:
        name: Name of the initializer.
        role: What its first reader does with it.
        readers: The nodes that read it, each with what it does.
        shape: Shape of the initializer.
        matrices: As how many matrices `[out, in]` it is read, and their sizes.
        dtype: Its type.
        nbytes: Its bytes.
        share: These as a share of all files of the model.
    """

    name: str
    role: str
    readers: tuple[str, ...]
    shape: tuple[int, ...]
    matrices: tuple[int, int, int]
    dtype: str
    nbytes: int
    share: float


def site_facts(site: Site, file_bytes: int) -> dict[str, Any]:
    """Return the fields of `SiteFacts`, for a model whose files have so many bytes together."""
    view = site.view
    return {
        "name": site.name,
        "role": str(site.role),
        "readers": tuple(f"{reader.node_name} ({reader.role})" for reader in site.readers),
        "shape": site.shape,
        "matrices": (view.count, view.rows, view.cols),
        "dtype": str(site.value.dtype),
        "nbytes": site.nbytes,
        "share": site.nbytes / max(file_bytes, 1),
    }
