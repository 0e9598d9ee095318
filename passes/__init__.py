"""What changes weights and graphs: one file a method here, lowering in `lower`, normalising in `prepare`."""
