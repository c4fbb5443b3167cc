"""Classification: texts or series in, their classes out."""
