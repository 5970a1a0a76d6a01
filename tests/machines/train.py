"""`imgrec train` on a machine of its own, whose leases last as many seconds as the first word says."""

import sys

from imgrec import lease, locking
from imgrec.cli import main

lease.LEASE = float(sys.argv.pop(1))
lease.RENEWED = lease.LEASE / 8
locking._FRESH, locking._LOOK, locking._LEAVING = lease.LEASE / 16, 0.05, 2.0
main()
