"""Expert vectors on the singular values of a finished network (Transformer²)."""
