"""Sequence to sequence: pairs of texts in, a trained model and its predictions out."""
