"""`python -m ramkit`, the same as `ramkit`."""

import sys

from ramkit.cli import main

sys.exit(main())
