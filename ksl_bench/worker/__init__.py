"""What one worker does with one piece of work: make a state, a ticket or an evaluation.

Every rank of a group calls `Builder.build` with the same work. The base model stays loaded between
calls; each run gets a copy, so that nothing of one run is left in the next. Rank 0 writes to the store,
the record last: an artifact without a record does not exist.
"""
