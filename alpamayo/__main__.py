"""``python -m alpamayo`` is the ``alpamayo`` command."""

from __future__ import annotations

import sys

from alpamayo.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
