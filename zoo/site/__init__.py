"""The gallery: a static site of a model repository, whose models run in the reader's browser."""
