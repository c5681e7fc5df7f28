"""Names on disk, options, threads and providers: decisions that need no server."""

import argparse
import logging
import os
import re
from pathlib import Path

import pytest

from zoo_server.backends.onnxruntime import threads
from zoo_server.config import ServerConfig
from zoo_server.errors import ConfigurationError, ProviderError
from zoo_server.repository import layout


@pytest.mark.parametrize("name", ["dense_iris", "a", "model-1.2", "Größe", "x" * 255])
def test_model_name_is_accepted(name):
    """Names that are one plain path component pass."""
    assert layout.check_model_name(name) == name


@pytest.mark.parametrize(
    "name", ["", " ", ".", "..", "a/b", "/a", "a\\b", ".tmp-x", "a\0b", "a\nb", " a", "x" * 256]
)
def test_model_name_is_refused(name):
    """Names that could reach another folder, or cannot be seen, are refused with the reason."""
    with pytest.raises(ValueError, match="cannot be a model name: it"):
        layout.check_model_name(name)


def test_version_folders(tmp_path):
    """Positive numbers without leading zeros are versions, in numeric order; the rest is ignored."""
    for name in ("1", "10", "2", "0", "01", "-3", "v4", "٣", ".tmp-5", "9" * 30):
        (tmp_path / name).mkdir()
    (tmp_path / "7").write_text("a file")

    assert layout.version_numbers(tmp_path) == [1, 2, 10]


def parse(*arguments, environ=None):
    parser = argparse.ArgumentParser()
    parser.add_argument("repository")
    ServerConfig.add_arguments(parser, environ or {})
    return ServerConfig.from_arguments(parser.parse_args(["models", *arguments]))


def test_flags_derive_from_the_option_table():
    """Every flag lands in its field; the defaults are the documented ports on loopback."""
    config = parse("--grpc-port", "0", "--provider", "cpu", "--drain-seconds", "1.5")

    assert (config.grpc_port, config.provider, config.drain_seconds) == (0, "cpu", 1.5)
    assert parse().host == "127.0.0.1"
    assert (parse().grpc_port, parse().http_port, parse().metrics_port) == (8001, 8000, 8002)
    assert parse().repository == Path("models")


def test_environment_replaces_a_default_and_a_flag_wins():
    """ZOO_THREADS stands in for --threads unless the flag is given."""
    environ = {"ZOO_THREADS": "3"}

    assert parse(environ=environ).threads == 3
    assert parse("--threads", "2", environ=environ).threads == 2


def test_repeated_options_and_switches():
    """A list's flags replace the environment's list; a switch can be turned off again."""
    mode = ("--model-control-mode", "explicit")
    environ = {"ZOO_LOAD_MODEL": "a, b,", "ZOO_ALLOW_SHARED_MEMORY": "yes"}
    config = parse(*mode, environ=environ)
    assert (config.load_model, config.allow_shared_memory) == (("a", "b"), True)
    config = parse(
        *mode, "--load-model", "c", "--load-model=d", "--no-allow-shared-memory", environ=environ
    )
    assert (config.load_model, config.allow_shared_memory) == (("c", "d"), False)
    assert not parse(environ={"ZOO_ALLOW_SHARED_MEMORY": "0"}).allow_shared_memory
    assert parse("--allow-shared-memory").allow_shared_memory
    with pytest.raises(ConfigurationError, match="ZOO_ALLOW_SHARED_MEMORY='maybe' is not a value"):
        parse(environ={"ZOO_ALLOW_SHARED_MEMORY": "maybe"})


def test_bad_environment_names_its_variable():
    """A variable that cannot be a value is an error that names it."""
    with pytest.raises(ConfigurationError, match="ZOO_GRPC_PORT='x' is not a value"):
        parse(environ={"ZOO_GRPC_PORT": "x"})
    with pytest.raises(
        ConfigurationError, match="ZOO_GRPC_PORT is 99999; it must lie in 0 to 65535"
    ):
        parse(environ={"ZOO_GRPC_PORT": "99999"})


@pytest.mark.parametrize(
    ("flag", "text", "said"),
    [
        ("--grpc-port", "1.5", "give a whole number in 0 to 65535"),
        ("--http-port", "x", "give a whole number in 0 to 65535, or `off`"),
        ("--model-memory", "5q", f"give a whole number in 0 to {1 << 50} bytes"),
        ("--drain-seconds", "1s", "give a number in 0 to 86400 seconds"),
    ],
)
def test_what_is_no_number_is_told_the_range_and_the_unit(flag, text, said, capsys):
    """By a flag and by its variable; what is out of range is told the same range."""
    with pytest.raises(SystemExit):
        parse(flag, text)
    assert f"argument {flag}: {text!r} is not a value; {said}\n" in capsys.readouterr().err
    variable = f"ZOO_{flag[2:].replace('-', '_').upper()}"
    with pytest.raises(ConfigurationError) as caught:
        parse(environ={variable: text})
    assert str(caught.value) == f"{variable}={text!r} is not a value for {flag}; {said}"
    with pytest.raises(ConfigurationError, match=re.escape(said.partition(" in ")[2])):
        parse(flag, str(1 << 51))


@pytest.mark.parametrize(
    "options",
    [
        {"grpc_port": 65536},
        {"grpc_port": -1},
        {"provider": "gpu"},
        {"threads": -1},
        {"drain_seconds": -1},
        {"max_message_bytes": 2**31},
        {"log_level": "loud"},
        {"host": ""},
    ],
)
def test_configuration_is_born_valid(options):
    """A value out of range cannot be constructed; the message names the flag."""
    with pytest.raises(ConfigurationError, match="--"):
        ServerConfig(repository=Path("models"), **options)


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({}, None),
        ({"/proc/self/cgroup": "0::/a/b", "/sys/fs/cgroup/a/b/cpu.max": "max 100000"}, None),
        ({"/proc/self/cgroup": "0::/a/b", "/sys/fs/cgroup/a/b/cpu.max": "150000 100000"}, 1.5),
        (
            {
                "/proc/self/cgroup": "0::/a/b",
                "/sys/fs/cgroup/a/b/cpu.max": "400000 100000",
                "/sys/fs/cgroup/a/cpu.max": "200000 100000",
            },
            2,
        ),
        ({"/proc/self/cgroup": "0::/../gone", "/sys/fs/cgroup/cpu.max": "50000 100000"}, 0.5),
        (
            {
                "/proc/self/cgroup": "5:cpuset:/x\n4:cpu,cpuacct:/docker/1",
                "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "300000\n",
                "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            3,
        ),
        (
            {
                "/proc/self/cgroup": "4:cpu:/",
                "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
                "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            None,
        ),
        ({"/proc/self/cgroup": "nonsense", "/sys/fs/cgroup/cpu.max": "a b"}, None),
    ],
)
def test_cgroup_quota(files, quota):
    """The tightest quota on the way up counts, in either version; broken files limit nothing."""
    assert threads.cgroup_quota(files.get) == quota


@pytest.mark.parametrize(
    ("requested", "affinity", "quota", "expected"),
    [(0, 8, None, 8), (0, 8, 1.5, 1), (0, 8, 0.5, 1), (0, 2, 16.0, 2), (5, 2, 1.0, 5)],
)
def test_thread_budget(requested, affinity, quota, expected):
    """An explicit number wins; else the smaller of affinity and quota, rounded down, at least 1."""
    budget = threads.decide(requested, affinity, quota)

    assert budget.threads == expected
    assert budget.why


def test_thread_budget_of_this_process():
    """On the machine itself the budget never exceeds the affinity."""
    assert 1 <= threads.measure(0).threads <= len(os.sched_getaffinity(0))


def test_provider_the_wheel_lacks_stops_the_server(repository, graphs, serve):
    """Asked by name for a provider that is not there, the server does not start."""
    repository.add("m", graphs.identity())
    expected = pytest.raises(ProviderError, match=r"'dml' is not available.*available: .*cpu")
    with expected, serve(repository.path, provider="dml"):
        pass


def test_log_says_what_each_model_runs_on(repository, graphs, serve, caplog):
    """The log names the provider of each model and the thread budget with its reason."""
    caplog.set_level(logging.INFO, "zoo_server")
    repository.add("m", graphs.identity())
    with serve(repository.path):
        pass

    assert "serving m version 1 on cpu" in caplog.text
    assert "threads (CPU affinity allows" in caplog.text
