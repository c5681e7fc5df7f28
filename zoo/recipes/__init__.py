"""Recipes: the tutorial's models, one family a file."""

#: In the order in which the tutorial introduces the layers.
FAMILIES = ("dense", "cnn", "lstm")
