"""Which versions are on disk, which are loaded, and a handle on one for the length of a request."""
