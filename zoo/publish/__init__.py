"""What is published: the repository on disk, the manifest, config.pbtxt, the file's own metadata."""
