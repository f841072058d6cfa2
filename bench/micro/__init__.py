"""The kernel alone: ids a second, bytes a user, and the longest step.

    pytest bench/micro                  ids a second, at 1 M and 10 M users, in batches of 1,000
    python -m bench.micro.memory        bytes a user and the longest step, at 1 M and 10 M users

Both want a quiet machine. The engine is called from Python, with batches that are made and hashed beforehand unless a name
says otherwise; a call of 1,000 ids costs Python well below a microsecond.
"""
