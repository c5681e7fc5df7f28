"""Builds model control from the server's options: which repository, and when models are loaded."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from zoo_server.config import ServerConfig
from zoo_server.models.catalog import Catalog
from zoo_server.models.control import ControlMode, ModelControl
from zoo_server.models.installer import Installer
from zoo_server.models.lazy_installer import LazyInstaller
from zoo_server.models.load_threads import LoadThreads
from zoo_server.models.loader import Loader
from zoo_server.models.residency import Residency
from zoo_server.repository.remote.address import RemoteAddress, default_cache
from zoo_server.repository.scan import ModelRepository
from zoo_server.repository.single_model import SingleModel
from zoo_server.repository.watched import Repository, WatchedRepository


def model_control(
    config: ServerConfig,
    loader: Loader,
    threads: LoadThreads,
    catalog: Catalog,
    changed: Callable[[str, bool], None],
) -> ModelControl:
    """Return what loads the models; ConfigurationError for an impossible model name.

    `changed` is called after each change of the catalog (Installer).
    """
    if config.is_lazy:
        residency = partial(Residency, config.model_memory, config.keep_alive)
        installer: Installer = LazyInstaller(loader, catalog, changed, residency)
    else:
        installer = Installer(loader, catalog, changed)
    mode = ControlMode(config.model_control_mode)
    return ModelControl(WatchedRepository(_repository(config)), installer, threads, catalog, mode)


def _repository(config: ServerConfig) -> Repository:
    if config.model_dir is not None and config.model_name is not None:
        return SingleModel(config.model_dir, config.model_name, follow_links=config.follow_links)
    if isinstance(config.repository, Path):
        return ModelRepository(config.repository, follow_links=config.follow_links)
    from zoo_server.repository.remote.repository import RemoteRepository

    return RemoteRepository(
        RemoteAddress.parse(config.repository),
        config.repository_cache or default_cache(),
        config.repository_cache_bytes,
    )
