"""Runs what deploy/Dockerfile makes, in a root of its own and on loopback alone; writes what came of it as JSON.

A program of its own, for namespaces that end with it: only this root, read-only but for /tmp, and no other process.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from zoo.client import Client

#: Seconds for the server to be ready, and to end.
_LIMIT = 200


def mount(*words: str | Path) -> None:
    subprocess.run(["mount", *words], check=True)


def run(root: Path, user: str, command: list[str], log: Path) -> dict[str, object]:
    """Start the image's command as its user; return what an outsider sees."""
    began = time.monotonic()
    with log.open("wb") as stream:
        process = subprocess.Popen(
            ["chroot", f"--userspec={user}", root, "/usr/bin/env", "-i", *command], stderr=stream
        )
    try:
        while not (ready := re.search(r"ready: gRPC on \S+:(\d+)", log.read_text())):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() - began < _LIMIT
            time.sleep(0.02)
        start = time.monotonic() - began
        with Client(f"127.0.0.1:{ready[1]}") as client:
            row = np.ones((2, 4), np.float32)
            answer = np.asarray(client.infer("identity", row))
        status = Path(f"/proc/{process.pid}/status").read_text()
        facts = dict(re.findall(r"^(Uid|CapEff|VmRSS):\s+(\w+)", status, re.MULTILINE))
        process.send_signal(signal.SIGTERM)
        return {
            "right": bool((answer == row).all()),
            "user": int(facts["Uid"]),
            "capabilities": int(facts["CapEff"], 16),
            "resident MB": int(facts["VmRSS"]) >> 10,
            "start s": round(start, 2),
            "exit status": process.wait(_LIMIT),
        }
    finally:
        process.kill()
        process.wait()


def main(root: str, models: str, outcome: str, user: str, command: str) -> None:
    place = Path(root)
    for name in ("tmp", "models", "proc"):
        (place / name).mkdir(exist_ok=True)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    mount("--bind", place, place)
    mount("--bind", models, place / "models")
    (place / "dev").mkdir(exist_ok=True)
    for device in ("null", "urandom"):
        (place / "dev" / device).touch()
        mount("--bind", f"/dev/{device}", place / "dev" / device)
    mount("-t", "tmpfs", "tmpfs", place / "tmp")
    mount("-t", "proc", "proc", place / "proc")
    mount("-o", "remount,bind,ro", place / "models")
    mount("-o", "remount,bind,ro", place)
    done = subprocess.run(
        ["chroot", f"--userspec={user}", place, "/bin/sh", "-c", "echo x > /usr/local/written"],
        capture_output=True,
        text=True,
        check=False,
    )
    outcomes = run(place, user, json.loads(command), Path(outcome).with_name("log.txt"))
    outcomes["root"] = done.stderr
    Path(outcome).write_text(json.dumps(outcomes))


if __name__ == "__main__":
    os.environ["GRPC_VERBOSITY"] = "NONE"
    main(*sys.argv[1:])
