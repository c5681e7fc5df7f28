"""Loaded models: loading and unloading, the catalog, readiness."""
