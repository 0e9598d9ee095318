"""Operators on codebooks."""
