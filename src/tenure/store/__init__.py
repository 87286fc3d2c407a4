"""Features remembered: the states of every customer, kept so that a score can be computed from them at any moment.

An online store (`protocol`) keeps, for each partition of the event log, the states of its customers and the position
up to which the log has been folded into them, and changes both in one atomic write. `online` opens one by URL.
"""
