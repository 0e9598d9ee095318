"""Commands that print published comparisons, measured anew."""
