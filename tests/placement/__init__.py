"""Placement: pure functions, so that each is held against its rule said in another way, and both implementations against it."""
