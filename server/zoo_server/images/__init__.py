"""Images: the one description of how a model takes them, and what makes its values of a picture."""
