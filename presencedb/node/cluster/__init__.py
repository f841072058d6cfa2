"""What a node does as a member of a cluster: knows which slots are its own, keeps in step with their other owners, and never
says that somebody is offline without knowing it.
"""
