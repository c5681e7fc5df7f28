"""Execution providers that come as packages of their own and register with onnxruntime (plugins).

A package onnxruntime-ep-NAME holds a library; once that is registered, onnxruntime lists the devices of
this machine that it supports, and a session is created for one of them. Registered once in a process, when
a model or --provider first asks for it.
"""

import importlib
import threading
from collections.abc import Mapping
from importlib import util

from zoo_server.backends.onnxruntime.error_text import one_line
from zoo_server.backends.onnxruntime.library import Device, Onnxruntime, SessionOptions
from zoo_server.errors import ProviderError

#: The packages by the name that onnxruntime gives their provider.
PACKAGES = {
    "OpenVINOExecutionProvider": "onnxruntime-ep-openvino",
    "WebGpuExecutionProvider": "onnxruntime-ep-webgpu",
}

#: The option that says on which of its devices a provider runs: CPU, GPU or NPU.
DEVICE_TYPE = "device_type"

_lock = threading.Lock()
_registered: set[str] = set()


class Plugins:
    """The plugins that are installed, of those that `module`, which is onnxruntime, has not built in."""

    def __init__(self, module: Onnxruntime) -> None:
        self._module = module
        built_in = set(module.get_available_providers()) - _registered
        takes_them = hasattr(module, "register_execution_provider_library")
        #: onnxruntime's names of their providers.
        self.names = [
            name
            for name, package in PACKAGES.items()
            if takes_them and name not in built_in and util.find_spec(package.replace("-", "_"))
        ]

    def add(self, session_options: SessionOptions, name: str, options: Mapping[str, str]) -> None:
        """Have a session created with a plugin's provider; ProviderError if it supports no device here."""
        rest = dict(options)
        device = self.device(name, rest.pop(DEVICE_TYPE, ""))
        session_options.add_provider_for_devices([device], rest)

    def device(self, name: str, kind: str = "") -> Device:
        """Return the first device of a kind, or of any; ProviderError if it supports none here."""
        package = PACKAGES[name]
        self._register(name, package)
        devices = [each for each in self._module.get_ep_devices() if each.ep_name == name]
        for device in devices:
            if kind.upper() in ("", device.device.type.name):
                return device
        from importlib import metadata  # takes as long as to load three models

        kinds = ", ".join(device.device.type.name for device in devices) or "none"
        raise ProviderError(
            f"{package} {metadata.version(package)} supports no {kind or 'device'} of this machine; "
            f"devices that it supports here: {kinds}"
        )

    def _register(self, name: str, package: str) -> None:
        with _lock:
            if name in _registered:
                return
            try:
                library = importlib.import_module(package.replace("-", "_")).get_library_path()
                self._module.register_execution_provider_library(name, library)
            except Exception as error:  # whatever a foreign library and its package raise
                raise ProviderError(f"{package} cannot be loaded: {one_line(error)}") from error
            _registered.add(name)
