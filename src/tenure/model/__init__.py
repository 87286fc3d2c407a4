"""Learning from training frames: splits, encoders, families, calibration, evaluation, versions and their registry."""

import os

# Read by the OpenMP runtime when XGBoost loads. Threads that wait by spinning take the very cores that the others need
# as soon as a machine is shared: the same training then took seven times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
