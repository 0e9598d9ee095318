"""The targets of `dtc deploy`, a folder each; `dtc.deploy.target` says what one is."""
