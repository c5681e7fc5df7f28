"""Chooses grpcio's poller, once a process, before grpc is first imported.

grpcio's servers have moved to an event engine whose pollers are threads beside the one that waits
for events. For a loop that takes every event itself, as the fast transport does, the older poller
costs a fifth to a quarter less CPU a call (bench/results). grpcio takes the choice from its
environment variable GRPC_EXPERIMENTS, and ignores names it does not know. This module stands outside
of transport/, whose import is an import of grpc: the choice would come too late.
"""

import os
import sys

VARIABLE = "GRPC_EXPERIMENTS"

_OLDER_POLLER = "-event_engine_listener,-event_engine_client"


def prefer_older_poller() -> bool:
    """Choose the poller unless the environment does; False if grpc is imported, which is too late."""
    if "grpc" in sys.modules or VARIABLE in os.environ:
        return False
    os.environ[VARIABLE] = _OLDER_POLLER
    return True
