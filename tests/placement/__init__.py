"""Placement: pure functions, so each is held against its rule said in another way, and so are both implementations."""
