"""Parity with Keras: the rows compared, the comparison, and the proof before a file is published."""
