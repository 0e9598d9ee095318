"""What labels have in common, whatever a loss or a metric makes of them."""

from __future__ import annotations

PADDING = -1
"""The integer label of a position that does not count."""
