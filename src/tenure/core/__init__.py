"""Vocabulary that every stage shares: time, errors, settings, files, the relational database, optional packages.

Nothing here knows about customers or churn; every other folder may import it and it imports none of them.
"""
