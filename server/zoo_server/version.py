"""The version of this distribution: of zoo, zoo_server and zoo_proto alike.

Written here, where pyproject.toml reads it too: to ask the installed distribution takes 30 ms of each start.
"""

VERSION = "0.1.0"
