"""What is loaded: loading and unloading, the catalog, what is ready."""
