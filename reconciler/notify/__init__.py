"""Who is told that something failed, recovered, was missed or has long been silent, and who hears that all is well.

Nothing here is on a run's way: it reads what is written, and a message that cannot be sent costs nobody but itself.
"""
