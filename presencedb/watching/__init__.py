"""Who watches whom: an index from ids to watchers and back.

Two implementations keep the contract of `interface.py`: the compiled one, and the one in plain Python. `create_watch_index`
makes one of the kind that runs here (see `presencedb.implementation`).
"""
