"""A cluster in one process: the real nodes, routers and clients, each on an event loop of its own, in a world whose time,
network and accidents come from a seed.
"""
