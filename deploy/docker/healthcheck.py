#!/usr/bin/env python
"""Exit status 0 when the server of this container can be used: its models are loaded."""

import os
import sys
import urllib.request

url = f"http://127.0.0.1:{os.environ.get('AURICLE_PORT', '8000')}/health/ready"
try:
    with urllib.request.urlopen(url, timeout=4):
        pass
except OSError as error:
    sys.exit(f"{url}: {error}")
