"""Publication: the repository on disk, the manifest, config.pbtxt, a file's metadata."""
