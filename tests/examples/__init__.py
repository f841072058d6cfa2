"""The examples as real processes, against a real node and the real thing at the other end."""
