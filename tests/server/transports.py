"""Which tests of the server run over one of its transports of gRPC, and not over each."""

import pytest

from zoo_server.config import TRANSPORTS

#: For what is the same however bytes travel, where each test starts processes or runs for seconds:
#: `pytestmark = OVER_ONE_TRANSPORT` in a module, or `@OVER_ONE_TRANSPORT` over a test.
OVER_ONE_TRANSPORT = pytest.mark.parametrize(
    "transport", TRANSPORTS[:1], indirect=True, scope="session"
)
