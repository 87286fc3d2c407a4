"""tenure: which customers are about to leave, and whether acting on it pays.

Importing this package loads none of the libraries that the stages stand on, so that a command line or a worker
starts fast and pays only for the stages it uses.
"""
