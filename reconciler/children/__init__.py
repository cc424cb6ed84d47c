"""The processes that tasks run in: both ends of each, and the warden that outlives a killed runner.

Nothing is imported here: a child would pay for its parent's side at each start.
"""
