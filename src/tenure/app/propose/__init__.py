"""A first `tenure.toml`: what the columns of somebody's files probably mean, with the evidence for it.

`profile` measures columns, `roles` guesses what each is for, `churn` proposes what leaving means, `features` what to
compute, and `document` writes it down with comments that say why.
"""
