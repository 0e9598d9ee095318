"""Operators on sparse weights, in compressed rows or as a bitmap."""
