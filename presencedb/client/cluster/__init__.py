"""A cluster as one server: requests cut by owner, sent, put together again. The one fan-out of the project: `AsyncClient`
uses it for `presence+cluster://`, and a router is this behind a listener.
"""
