"""`python -m ibcm_bridge` is `ibcm-bridge`."""

import sys

from ibcm_bridge.cli import main

sys.exit(main())
