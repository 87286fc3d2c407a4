"""Scores over HTTP: who may ask, how often and how much, and what is answered.

Nothing here knows where scores come from: routes are given a scorer, and the service is put together in `tenure.app`.
"""
