"""From files to a trained and scored model: data, vocabulary, metrics and the baseline to beat."""
