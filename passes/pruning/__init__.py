"""What pruning methods are made of: when, which weights, and how the others make up for them."""
