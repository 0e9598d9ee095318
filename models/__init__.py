"""Reference models and the public data sets that they are trained on."""
