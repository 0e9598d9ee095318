"""Reference models and the public data sets that they are trained on."""

from dtc.models.reference import ModelOptions, Reference, build, names, plan, reference, references

__all__ = ["ModelOptions", "Reference", "build", "names", "plan", "reference", "references"]
