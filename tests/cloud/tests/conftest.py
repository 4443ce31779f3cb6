"""Fixtures: a Local EC2 without guests for each test, and small helpers around it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from support import edit_filesystem  # noqa: E402

from localec2 import HELPER_ROLE, Keys, LocalEc2, Settings, default_cache  # noqa: E402
from localec2.storage import copy_sparse  # noqa: E402

#: Short enough for quick tests, long enough that a transitional state can be observed.
QUICK = Settings(
    qemu=False,
    volume_seconds=0.15,
    attach_seconds=0.15,
    snapshot_seconds=0.25,
    image_seconds=0.15,
    instance_seconds=0.1,
    visibility_seconds=0.0,
)


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker that separates the tests with guests."""
    config.addinivalue_line("markers", "vm: boots a QEMU guest (minutes, needs root and images)")


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of its own, so that tests leave the user's authority alone."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def start(cache: Path) -> Iterator[Callable[[Settings], LocalEc2]]:
    """Starts a Local EC2 with given settings; it ends with the test, which must have no errors."""
    started: list[LocalEc2] = []

    def make(settings: Settings) -> LocalEc2:
        cloud = LocalEc2(cache=cache, settings=settings).__enter__()
        started.append(cloud)
        return cloud

    yield make
    for cloud in started:
        cloud.close()
    assert [error for cloud in started for error in cloud.errors] == []


@pytest.fixture
def cloud(start: Callable[[Settings], LocalEc2]) -> LocalEc2:
    """A quick Local EC2 without guests."""
    return start(QUICK)


@pytest.fixture
def ec2(cloud: LocalEc2) -> Any:
    """The administrator's EC2 client."""
    return cloud.client("ec2")


@pytest.fixture
def blank(tmp_path: Path) -> Path:
    """A raw image of 1 GiB with nothing in it."""
    path = tmp_path / "blank.img"
    with open(path, "wb") as file:
        file.truncate(1 << 30)
    return path


@pytest.fixture
def helper_instance(cloud: LocalEc2, blank: Path) -> str:
    """A running instance with the helper's role."""
    image = cloud.register_helper(cloud.import_image(blank), blank)
    instance = cloud.run_instance(image, profile=HELPER_ROLE)
    cloud.wait_state(instance, "running", 10)
    return instance


@pytest.fixture
def helper_keys(cloud: LocalEc2, helper_instance: str) -> Keys:
    """Role credentials as the helper gets them."""
    minted = cloud.mint_credentials(helper_instance, HELPER_ROLE)
    return Keys(minted["AccessKeyId"], minted["SecretAccessKey"], minted["Token"])


# --- guests ----------------------------------------------------------------------------------


def _newest(pattern: str, variable: str) -> Path:
    """The image named by an environment variable, or the newest of the cache; else skip."""
    if variable in os.environ:
        return Path(os.environ[variable])
    found = sorted((default_cache() / "images").glob(pattern), key=lambda p: p.stat().st_mtime)
    if not found:
        pytest.skip(f"no {pattern} in the cache: run ./demo, which makes it")
    return found[-1]


def _copies(directory: Path, original: Path) -> Iterator[Callable[[list[str]], Path]]:
    """Makes copies of an image, edited by debugfs; they end with the test."""
    made: list[Path] = []

    def make(commands: list[str]) -> Path:
        copy = directory / f"{len(made)}-{original.name}"
        made.append(copy)
        copy_sparse(original, copy)
        edit_filesystem(copy, commands)
        return copy

    yield make
    for copy in made:
        copy.unlink(missing_ok=True)


@pytest.fixture
def kernel() -> Path:
    """The kernel that helper images are booted with: AMILIFT_HELPER_KERNEL."""
    if os.geteuid() != 0:
        pytest.skip("needs root: a guest gets a network namespace and its QEMU's memory is patched")
    return _newest("helper-vmlinuz-????????????????", "AMILIFT_HELPER_KERNEL")


@pytest.fixture
def helper_copy(tmp_path: Path, kernel: Path) -> Iterator[Callable[[list[str]], Path]]:
    """Makes edited copies of AMILIFT_HELPER_IMAGE, which build-helper made."""
    yield from _copies(tmp_path, _newest("helper-????????????????.img", "AMILIFT_HELPER_IMAGE"))


@pytest.fixture
def source_copy(tmp_path: Path) -> Iterator[Callable[[list[str]], Path]]:
    """Makes edited copies of AMILIFT_SOURCE_IMAGE, which build-source made."""
    yield from _copies(
        tmp_path, _newest("source-pv-bookworm-cloud-ext3-debian-*.img", "AMILIFT_SOURCE_IMAGE")
    )
