"""How much the longest tests try: what shows each kind, or all of it with ``THOROUGH=1``."""

import os

THOROUGH = os.environ.get("THOROUGH", "") not in ("", "0")
