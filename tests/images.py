"""The images of the Dockerfile without an engine: built by buildah, and run in chroots."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.compose import ROOT

STORE = Path(os.environ.get("STEPSIZE_IMAGES_DIR", ROOT / "build" / "images"))
"""Images and layers are kept there: the next build begins where the last one ended."""

TOOLS = ("buildah", "debootstrap", "unshare", "chroot", "setpriv")

# What an engine does with `read_only`, `tmpfs`, `volumes`, `secrets`, `user`, `cap_drop` and
# `no-new-privileges`, and nothing that it does not: the network is that of this machine.
CONFINE = r"""
set -eu
root=$1 name=$2 user=$3 folder=$4; shift 4
hostname "$name"
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
mount -t tmpfs -o nosuid,mode=755 dev "$root/dev"
mkdir "$root/dev/shm"
mount -t tmpfs -o nosuid,nodev,mode=1777 shm "$root/dev/shm"
for each in null zero random urandom; do
    touch "$root/dev/$each"; mount --bind "/dev/$each" "$root/dev/$each"
done
for mount in "$@"; do
    shift
    case $mount in
        --) break ;;
        tmpfs:*) mount -t tmpfs -o nosuid,nodev,noexec,mode=1777 tmp "$root/${mount#tmpfs:}" ;;
        *) mount --bind "${mount%%:*}" "$root/${mount#*:}" ;;
    esac
done
mount -o remount,bind,ro "$root"
exec chroot "$root" setpriv --reuid "${user%:*}" --regid "${user#*:}" --clear-groups \
    --no-new-privs --bounding-set=-all --inh-caps=-all --ambient-caps=-all \
    env -C "$folder" -i "$@"
"""


class MissingToolError(Exception):
    """What the images are built with is not there."""


def buildah(*arguments: str) -> str:
    """Runs it on the images of `STORE`; returns what it printed."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing or os.geteuid() != 0:
        raise MissingToolError(
            f"images are built by root, and these are missing: {', '.join(missing) or 'none'};"
            " on Debian: apt-get install buildah debootstrap"
        )
    STORE.mkdir(parents=True, exist_ok=True)
    places = ("--root", f"{STORE}/storage", "--runroot", f"{STORE}/run")
    done = subprocess.run(
        ["buildah", *places, *arguments], check=False, capture_output=True, text=True
    )
    if done.returncode:
        told = (done.stdout + done.stderr)[-6000:]
        raise RuntimeError(f"buildah {shlex.join(arguments)} ended with {done.returncode}:\n{told}")
    return done.stdout.strip()


def base() -> str:
    """The name of the Dockerfile's base image; made from Debian's packages where there is none."""
    text = (ROOT / "docker" / "Dockerfile").read_text()
    (name, suite) = re.findall(r"^ARG PYTHON=(\S+-(\w+))$", text, re.MULTILINE)[0]
    if name in buildah("images", "--format", "{{.Name}}:{{.Tag}}"):
        return str(name)
    tree = STORE / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    packages = "--include=python3,python3-pip,python3-venv,ca-certificates"
    with (STORE / "debootstrap.log").open("w") as log:
        command = ["debootstrap", "--variant=minbase", packages, suite, str(tree)]
        subprocess.run(command, check=True, stdout=log, stderr=log)
    # as in the image that it stands for: `python` is there, and pip may install
    (tree / "usr/local/bin/python").symlink_to("/usr/bin/python3")
    for marker in tree.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
        marker.unlink()
    made = buildah("from", "scratch")
    buildah("copy", "--quiet", made, str(tree), "/")
    buildah("config", "--cmd", "python3", made)
    buildah("commit", "--quiet", "--rm", made, f"docker.io/library/{name}")
    shutil.rmtree(tree)
    return str(name)


def build(target: str) -> str:
    """Builds a target of the Dockerfile, with the package index that pip uses here; its name."""
    base()
    name = f"localhost/stepsize-{target}"
    mounts = [part for each in _pip() for part in ("--volume", each)]
    buildah(
        *("bud", "--isolation", "chroot", "--pull-never", "--layers", "--format", "docker"),
        *("--target", target, "--tag", name, *mounts),
        *("--file", str(ROOT / "docker" / "Dockerfile"), str(ROOT)),
    )
    return name


def _pip() -> list[str]:
    """Mounts for a build: this machine's settings of pip, and the local places that they name."""
    told = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], check=True, capture_output=True, text=True
    ).stdout
    line = re.compile(r"^(?:global|install|user|:env:)\.([\w-]+)='(.*)'$", re.MULTILINE)
    settings = dict(line.findall(told))
    settings.pop("require-virtualenv", None)
    (STORE / "pip.conf").write_text(
        "[global]\n" + "".join(f"{key} = {value}\n" for key, value in settings.items())
    )
    words = {word for each in settings.values() for word in each.split()}
    # an index leads to files beside it
    beside = {str(Path(urlsplit(word).path).parent) for word in words if "file://" in word}
    named = {word for word in words if word.startswith("/") and Path(word).exists()}
    places = sorted(beside | {str(Path(w).parent) if Path(w).is_file() else w for w in named})
    return [f"{STORE}/pip.conf:/etc/pip.conf:ro", *(f"{each}:{each}:ro" for each in places)]


@dataclass(frozen=True)
class Image:
    """A built tree, and what its configuration says."""

    root: Path
    config: Mapping[str, Any]

    @property
    def environment(self) -> dict[str, str]:
        return dict(each.split("=", 1) for each in self.config["Env"])

    def command(
        self,
        name: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        mounts: Mapping[Path, str],
        tmpfs: Sequence[str],
    ) -> list[str]:
        """The command of this machine that runs the image's, confined; `mounts` are bound."""
        for inside in (*mounts.values(), *tmpfs):
            (self.root / inside.lstrip("/")).mkdir(parents=True, exist_ok=True)
        given = self.environment | {"HOME": "/tmp"} | dict(environment)
        return [
            *("unshare", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child"),
            *("sh", "-c", CONFINE, "confine", str(self.root), name, self.config["User"]),
            self.config["WorkingDir"],
            *(f"tmpfs:{each}" for each in tmpfs),
            *(f"{outside}:{inside}" for outside, inside in mounts.items()),
            "--",
            *(f"{key}={value}" for key, value in given.items()),
            *command,
        ]


@cache
def image(target: str) -> Image:
    """A target, built and mounted; it stays mounted until `unmount`."""
    container = buildah("from", "--pull-never", build(target))
    config = json.loads(buildah("inspect", "--type", "container", container))["Docker"]["config"]
    return Image(Path(buildah("mount", container)), config)


def unmount() -> None:
    """Removes the containers whose trees were mounted, and keeps the images."""
    buildah("rm", "--all")
    image.cache_clear()
