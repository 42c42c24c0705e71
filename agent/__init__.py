"""What a person runs: the recommendation pipeline, explanations, settings, output and the command line."""
