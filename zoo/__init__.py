"""Layer Zoo: the tutorial's Keras layers as trained, exported and served models."""
