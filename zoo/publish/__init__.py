"""Publication: the repository on disk, and what a version says of itself.

repository           writes: a version's folder appears whole or not at all
transfer             copies versions to and from an object store
versions             reads: names, manifests, checksums
verification         the published files that are meant to be equal to Keras
manifest, config, properties, keras_file     what is written beside and into a model's file
"""
