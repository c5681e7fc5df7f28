"""The application of Ray Serve, by the import path zoo_server.ray_serve.application:build (deploy/ray/).

Its arguments are the options of `zoo serve`, with underscores, and those of Arguments.
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from ray import serve

from zoo_server import options
from zoo_server.config import ServerConfig
from zoo_server.errors import ConfigurationError
from zoo_server.options import number
from zoo_server.ray_serve.replica import Multiplexer, Replica

#: How long a multiplexed model stays in memory that Ray's cache has lost sight of, in seconds.
_KEEP_ALIVE = 3600.0

#: A start is over once every model is loaded or has failed to.
_STARTUP_WAIT = 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """What the application takes besides the server's options."""

    models_per_replica: int = number(
        0,
        "models in a replica's memory, loaded when they are asked for, the most recently used; 0 loads "
        "all at the start",
        low=0,
        high=1 << 20,
    )
    min_replicas: int = number(1, "replicas without load", low=0, high=1 << 20)
    max_replicas: int = number(1, "replicas at most", low=1, high=1 << 20)
    target_requests: int = number(
        16, "requests of a replica, under way and waiting, above which there are to be more replicas",
        low=1, high=1 << 20,
    )  # fmt: skip
    upscale_delay_seconds: float = number(
        30.0, "how long there are to be more replicas before some start",
        low=0, high=86400, unit="seconds",
    )  # fmt: skip
    downscale_delay_seconds: float = number(
        600.0, "how long there are to be fewer replicas before some end",
        low=0, high=86400, unit="seconds",
    )  # fmt: skip
    cpus: int = number(1, "CPUs of a replica, and its threads for computing", low=1, high=4096)

    def __post_init__(self) -> None:
        options.check(self)
        if self.min_replicas > self.max_replicas:
            raise ConfigurationError(
                f"min_replicas is {self.min_replicas}, more than max_replicas ({self.max_replicas})"
            )

    @classmethod
    def parse(cls, arguments: Mapping[str, object]) -> tuple[Self, ServerConfig]:
        """Return the arguments and the server's options; ConfigurationError names what is wrong."""
        parser = _Parser(prog="build", allow_abbrev=False)
        parser.add_argument("--repository", required=True)
        options.add_arguments(parser, cls, {})
        ServerConfig.add_arguments(parser, {})
        words = [word for name, value in arguments.items() for word in _words(name, value)]
        namespace = parser.parse_args(words)
        config = ServerConfig.from_arguments(namespace)
        return cls(**options.values_of(namespace, cls)), config


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise ConfigurationError(f"arguments of the application: {message}")


def _words(name: str, value: object) -> list[str]:
    """Return an argument as the words of a command; a switch has `true` or `false`."""
    if value is False or value == "false":
        return []
    if value is True or value == "true":
        return [options.flag(name)]
    return [f"{options.flag(name)}={value}"]


def build(arguments: Mapping[str, object]) -> Any:
    """Return the application; ConfigurationError for an argument that is none.

    `arguments` may be text, as `serve run` gives it, or the values of a Serve config's `args`.
    """
    ours, config = Arguments.parse(arguments)
    if ours.models_per_replica and not config.keep_alive:
        config = replace(config, keep_alive=_KEEP_ALIVE)
    config = replace(config, threads=config.threads or ours.cpus, startup_wait=_STARTUP_WAIT)
    deployment = serve.deployment(
        RayReplica,
        name="OpenInference",
        ray_actor_options={"num_cpus": ours.cpus},
        max_ongoing_requests=4 * ours.target_requests,
        **_replicas(ours),
    )
    return deployment.bind(config, ours.models_per_replica)


def _replicas(ours: Arguments) -> dict[str, Any]:
    if ours.min_replicas == ours.max_replicas:
        return {"num_replicas": ours.max_replicas}
    return {
        "autoscaling_config": {
            "min_replicas": ours.min_replicas,
            "max_replicas": ours.max_replicas,
            "target_ongoing_requests": ours.target_requests,
            "upscale_delay_s": ours.upscale_delay_seconds,
            "downscale_delay_s": ours.downscale_delay_seconds,
        }
    }


class RayReplica(Replica):
    """A replica with Ray's cache of models."""

    def __init__(self, config: ServerConfig, models: int) -> None:
        super().__init__(config, _multiplexer(models) if models else None)


def _multiplexer(models: int) -> Multiplexer:
    def multiplexer(load: Any) -> Any:
        async def resident(model_id: str) -> object:
            return await load(model_id)

        return serve.multiplexed(resident, max_num_models_per_replica=models)

    return multiplexer
