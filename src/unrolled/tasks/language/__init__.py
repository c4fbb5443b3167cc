"""Language models: a text in, how likely each next symbol is, and more text out."""
