"""Rows of features in, decodings out: one file an engine, each run in a process of its own."""

import sys
from typing import cast

# OpenVINO reports each import to its maker, and keeps an id for that in the home folder. It has a mode without this
# package, and no setting; nothing else uses the package.
cast("dict[str, object]", sys.modules).setdefault("openvino_telemetry", None)
