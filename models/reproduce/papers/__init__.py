"""The published experiments, one module each: `python -m dtc.models.reproduce.papers NAME --size small`.

A module offers its `EXPERIMENT` (dtc.models.reproduce.papers.experiment); nothing else registers one.
"""
