"""Model repositories in object stores and on web servers: listed there, read from a local cache."""
