"""Rewrites that give nodes a form whose gradient exists, is right and is fast."""
