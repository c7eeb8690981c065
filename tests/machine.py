"""What a test needs of the machine: programs, ports, servers of its own."""

import importlib
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

import pytest

READY = 300
"""Seconds within which a server must answer; MLflow makes its tables first."""
PATIENCE_MS = 180_000
"""For a page on a machine that is busy with other tests."""
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def lacking(what):
    """Skip a test for something that is not installed; in CI that is a failure, or nobody would notice."""
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(f"{what} (CI=true: not skipped)")
    pytest.skip(what)


def importable(name):
    """Return a module that a test is nothing without; where it is missing the whole file is skipped."""
    if os.environ.get("CI", "").lower() == "true":
        return importlib.import_module(name)
    return pytest.importorskip(name, reason=f"{name} is not installed")


@contextmanager
def open_browser(playwright):
    """Yield a headless browser of the machine's, driven by playwright."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        lacking(f"none of {', '.join(BROWSERS)} is on the PATH")
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


@contextmanager
def running(command, **options):
    process = subprocess.Popen(command, start_new_session=True, **options)
    try:
        yield process
    finally:
        os.killpg(process.pid, 15)
        process.wait(READY)


def wait_for(ready):
    deadline = time.monotonic() + READY
    while not ready():
        assert time.monotonic() < deadline, "the server did not come up"
        time.sleep(0.2)


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=2) as reply:
            return reply.status == 200
    except (urllib.error.URLError, OSError):
        return False


@contextmanager
def mlflow_server(database, folder, port):
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port),
        "--workers", "1", "--backend-store-uri", database, "--artifacts-destination", str(folder),
    ]  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    with (folder / "server.log").open("wb") as log, running(command, stdout=log, stderr=log):
        wait_for(lambda: answers(f"{address}/health"))
        yield address
