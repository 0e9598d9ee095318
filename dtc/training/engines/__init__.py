"""The training engines, one folder each; see `dtc.training.engine` for what an engine is."""
