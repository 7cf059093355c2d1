"""A cluster in simulated time, with the real brain (``decide``) watching it. See ../README.md."""
