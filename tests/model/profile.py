"""How long the model runs: KTLS_MODEL_SECONDS, 20 without it."""

import os

SECONDS = float(os.environ.get("KTLS_MODEL_SECONDS", "20"))
