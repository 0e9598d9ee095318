"""Operators on binary codes."""
