"""Numbers that stay on disk: parts of files, and a folder of arrays. No graph."""

from dtc.storage.array_store import ArrayStore, Kept
from dtc.storage.file_part import FilePart

__all__ = ["ArrayStore", "FilePart", "Kept"]
