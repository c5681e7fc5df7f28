"""Reads the parameters of RepositoryModelLoad: a configuration and model files in the request itself.

    config                     ModelConfig in JSON, in the place of config.pbtxt
    file:<version>/<name>      one file's bytes; with any of them, nothing is read from the repository
    file:<name>                likewise, beside the versions (labels)

A caller that sends files decides what this process runs, which is why model control is opt-in; it does
not decide where the files are written (docs/protocol.md 4.4: CVE-2023-31036).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from zoo_server.errors import InvalidRequest, LoadFailed
from zoo_server.repository import layout
from zoo_server.repository.confinement import Confinement
from zoo_server.repository.scan import ModelFiles, read_folder

#: A load parameter's value, as the wire types it.
ControlValue = bool | int | str | bytes

CONFIG = "config"
FILE_PREFIX = "file:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """What a caller wants loaded in the place of what lies in the repository."""

    config: str | None = None
    #: By path inside the model's folder.
    files: Mapping[tuple[str, ...], bytes] = field(default_factory=dict)


def check_name(name: str) -> None:
    """InvalidRequest for a name that no model may have (docs/protocol.md 4.4), with Triton's words."""
    if not name.strip():
        raise InvalidRequest("Model name cannot be empty. Please enter a valid name to deploy.")
    if name.strip() == ".." or "/" in name:
        raise InvalidRequest(
            f"invalid model name '{name[:300]}', model name must not contain path traversal "
            "characters"
        )
    try:
        layout.check_model_name(name)
    except ValueError as error:
        raise InvalidRequest(f"invalid model name: {error}") from None


def parse_override(model: str, parameters: Mapping[str, ControlValue]) -> Override:
    """Return what the parameters say.

    InvalidRequest for an unknown one or a wrong type; LoadFailed for a path that no file can have or
    that leads out, and for files without a configuration.
    """
    config: str | None = None
    files: dict[tuple[str, ...], bytes] = {}
    for key, value in parameters.items():
        if key == CONFIG:
            if not isinstance(value, str):
                raise _wrong_type(key, "string_param")
            config = value
        elif key.startswith(FILE_PREFIX):
            if not isinstance(value, bytes):
                raise _wrong_type(key, "bytes_param")
            files[_path(model, key)] = value
        else:
            raise InvalidRequest(f"unrecognized load parameter '{key[:300]}'.")
    if files and config is None:
        raise poll_failure(
            model, f"Load parameter '{CONFIG}' must be specified for model file override"
        )
    return Override(config=config, files=files)


def poll_failure(model: str, detail: str = "") -> LoadFailed:
    """Return the error for an unreadable model, with Triton's stem (docs/protocol.md 2.1)."""
    stem = f"failed to load '{model}', failed to poll from model repository"
    return LoadFailed(f"{stem}: {detail}" if detail else stem)


def _wrong_type(key: str, expected: str) -> InvalidRequest:
    return InvalidRequest(
        f"invalid value type for load parameter '{key[:300]}', expected {expected}."
    )


def _path(model: str, key: str) -> tuple[str, ...]:
    """Return a file's place inside the model's folder: NAME, or VERSION and NAME."""
    parts = tuple(key.removeprefix(FILE_PREFIX).split("/"))
    if any(len(part.encode("utf-8", "surrogatepass")) > layout.MAX_NAME_BYTES for part in parts):
        raise poll_failure(model, f"a file name is longer than {layout.MAX_NAME_BYTES} bytes")
    plain = all(_is_plain(part) for part in parts)
    versioned = len(parts) == 2 and layout.version_number(parts[0]) is not None
    named = len(parts) == 1 and layout.version_number(parts[0]) is None
    if not (plain and (versioned or named)):
        raise poll_failure(
            model,
            f"Invalid file parameter '{key[:300]}': it must stay within model directory, as "
            f"{FILE_PREFIX}<version>/<name>",
        )
    return parts


def _is_plain(name: str) -> bool:
    return (
        bool(name.strip())
        and not layout.is_hidden(name)
        and "\\" not in name
        and all(character.isprintable() for character in name)
    )


@contextmanager
def unpacked(model: str, override: Override) -> Iterator[ModelFiles]:
    """Write the files to a folder of their own for as long as the block runs: that of the load."""
    with TemporaryDirectory(prefix=layout.TEMPORARY_PREFIX) as place:
        folder = Path(place, model)
        folder.mkdir()
        for parts, content in override.files.items():
            file = folder.joinpath(*parts)
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(content)
        # Its folder is not the repository's, so that the file stamps are unique too.
        yield replace(
            read_folder(folder, Confinement(Path(place).resolve())),
            config_json=override.config,
            config_file=None,
        )
