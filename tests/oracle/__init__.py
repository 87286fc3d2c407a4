"""A second, slow, obviously correct reading of what features and churn mean.

The package answers for millions of customers at once, with SQL and with folds over states. This folder answers for one
customer at a time, with loops over plain dictionaries, and was written from the stated meanings alone. Where the two
differ, one of them is wrong; nothing here may be made to agree by looking at how the package does it.
"""
