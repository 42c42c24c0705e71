"""Language models behind OpenAI-compatible endpoints: what they answer is data, checked like anybody's."""
