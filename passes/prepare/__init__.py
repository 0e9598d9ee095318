"""Normalising rewrites: they change how a model is written, not what it computes."""
