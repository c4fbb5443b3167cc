"""Speech to text: recordings and their transcripts in, a trained model and its transcripts out."""
