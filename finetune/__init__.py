"""Whatever makes or runs a tuned model: the language-model ranker and the explanation writer."""
