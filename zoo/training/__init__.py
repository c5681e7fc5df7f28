"""Training: the import of Keras, the loop, metrics, finished runs and their records."""
