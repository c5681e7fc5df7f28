"""Opens fsspec's driver of an address, with bounds on how long a store that is away is waited for.

fsspec is imported here when a store is opened, so a server whose repository is a folder never loads it.
"""

import logging
import re
from typing import Any

from zoo_server.errors import ConfigurationError, RepositoryUnreachable
from zoo_server.repository.remote.address import DRIVERS, RemoteAddress

#: Seconds that a store has to take a connection, and to send its next bytes.
_CONNECT_SECONDS, _READ_SECONDS = 10, 60

#: Seconds between Azure's tries, about: its own are 15, 18 and 24, and a listing takes three rounds of them.
_AZURE_WAIT = 0.5


def open_driver(address: RemoteAddress) -> tuple[Any, str]:
    """Return the driver, and the path of the repository's root in it, without a slash at its end.

    ConfigurationError says what is not installed or set, RepositoryUnreachable what does not answer.
    """
    package, extra = DRIVERS.get(address.scheme, ("", ""))
    try:
        driver, root = _open(address)
    except ImportError as error:
        missing = package if package and error.name in (None, package) else error.name
        cure = f"pip install 'layer-zoo[{extra}]'" if extra else "install what fsspec names"
        raise ConfigurationError(
            f"'{address.shown}' needs the package {missing or 'fsspec'}: {cure}"
        ) from None
    except OSError as error:  # some drivers connect at once
        raise RepositoryUnreachable(
            f"'{address.shown}' cannot be read: {one_line(error)}"
        ) from error
    except Exception as error:  # a driver that wants more than the URL has raises any kind
        raise ConfigurationError(f"'{address.shown}': {one_line(error)}") from error
    if package == "adlfs":
        _bound_azure(driver)
    elif package == "gcsfs":
        # It writes the trace of each error that it gives up on, which is ours to tell in a line.
        logging.getLogger("gcsfs").setLevel(logging.CRITICAL)
    return driver, root.rstrip("/")


def _open(address: RemoteAddress) -> tuple[Any, str]:
    import fsspec

    if address.scheme in DRIVERS:
        kind = fsspec.get_filesystem_class(address.scheme)
        return kind(**_options(address), skip_instance_cache=True), address.path
    # A folder has to be made before a file; in other stores there are none.
    own = {"auto_mkdir": True} if address.scheme in ("file", "local") else {}
    driver, root = fsspec.url_to_fs(
        address.url, use_listings_cache=False, skip_instance_cache=True, **own
    )
    return driver, root


def _options(address: RemoteAddress) -> dict[str, Any]:
    options: dict[str, Any] = {**address.options, "use_listings_cache": False}
    if address.scheme in ("s3", "s3a"):
        options["config_kwargs"] = {
            "connect_timeout": _CONNECT_SECONDS,
            "read_timeout": _READ_SECONDS,
        }
    elif address.scheme in ("http", "https"):
        import aiohttp

        options["client_kwargs"] = {
            "timeout": aiohttp.ClientTimeout(sock_connect=_CONNECT_SECONDS, sock_read=_READ_SECONDS)
        }
    elif DRIVERS.get(address.scheme, ("",))[0] == "adlfs":
        options |= {"connection_timeout": _CONNECT_SECONDS, "read_timeout": _READ_SECONDS}
    return options


def _bound_azure(driver: Any) -> None:
    """Shorten the waits between tries; adlfs has no option for them."""
    policy = getattr(getattr(driver.service_client, "_config", None), "retry_policy", None)
    if policy is not None:
        policy.initial_backoff, policy.increment_base = _AZURE_WAIT, 1


def one_line(error: Exception) -> str:
    """Return an error's text in one line, without a URL's password and query."""
    text = " ".join(str(error).split()) or type(error).__name__
    text = re.sub(r"//[^/@\s]*@", "//", text)
    return re.sub(r"\?[^\s\"']*", "", text)[:300]
