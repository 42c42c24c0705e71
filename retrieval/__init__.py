"""What there is to recommend, finding it and scoring it cheaply."""
