"""The parts of a simulated subscription service; `tenure.source.simulate` is the way in.

`hazard` is the law by which customers leave, `population` what they do in a period, `service` how periods follow each
other, `planted` the faults put into the log, `blocks` how a part of the service is written, `tally` what is counted on
the way, and `project` the `tenure.toml` that reads the result.
"""
