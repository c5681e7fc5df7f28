"""Datasets that ship inside packages, one family a file, split three ways by seed."""
