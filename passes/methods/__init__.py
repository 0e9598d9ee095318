"""The compression methods, one file each; see `dtc.passes.method` for what a method is."""
