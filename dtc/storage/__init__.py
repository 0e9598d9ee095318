"""Numbers that stay on disk: parts of files. No graph."""

from dtc.storage.file_part import FilePart

__all__ = ["FilePart"]
