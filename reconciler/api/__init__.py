"""What can be asked from outside over HTTP: whether this service lives, whether it is well, and its figures."""
