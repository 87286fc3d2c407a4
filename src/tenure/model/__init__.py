"""Learning from training frames: splits, encoders, families, calibration, evaluation, versions and their registry."""
