"""Models from a batch to scores, and the search that turns scores into sequences."""
