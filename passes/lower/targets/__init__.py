"""The targets that files are written for, one module each; see `dtc.passes.lower.target` for what a target is."""
