"""What a trained model does, as data, as figures and as one page to read."""
