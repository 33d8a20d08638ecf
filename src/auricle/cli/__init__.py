"""The command line."""

import os

# The threads of numpy's matrix products, small here, would wait for more of them in a loop, on the engine's cores. They
# are made when numpy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
