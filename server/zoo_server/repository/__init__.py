"""Reads a model repository from disk: names, scan, config.pbtxt, versions, labels."""
