"""`python -m ibcm_bridge` is `ibcm-bridge`."""

import sys

from ibcm_bridge.commands.main import main

sys.exit(main())
