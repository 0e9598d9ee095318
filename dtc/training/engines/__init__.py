"""The training engines, one folder each, found by being there.

A folder offers `ENGINE`, a `dtc.training.engine_kind.EngineKind`; what an engine does is in `dtc.training.engine`.
"""
