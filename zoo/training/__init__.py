"""Training: the door to Keras, the loop, metrics, finished runs and their records."""
