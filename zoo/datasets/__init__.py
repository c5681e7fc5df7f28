"""Data that ships inside packages, one family a file: read directly, split three ways by seed."""
