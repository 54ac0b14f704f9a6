"""The state backend, the environment of `pulumi` in the lab, and the first deploy."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from pathlib import Path

from lab import images, ingress, plugin_cache, salt
from lab.command import run
from lab.errors import LabError, refused
from lab.image_archive import architecture
from lab.settings import LabSettings

FIRST_STACK = "development"
PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "https_proxy", "http_proxy", "all_proxy")


def variables(settings: LabSettings) -> dict[str, str]:
    """Return the environment variables that make a shell work against the lab.

    Args:
        settings: The lab.

    Returns:
        Name -> value, without PATH.
    """
    base, postgres = images.base_images(settings), images.pushed_postgres_image(settings)
    return {
        **_without_proxy(settings),
        "KUBECONFIG": str(settings.kubeconfig),
        "DOCKER_HOST": settings.docker_host,
        "PULUMI_HOME": str(settings.pulumi_home),
        "PULUMI_BACKEND_URL": f"file://{settings.backend}",
        "PULUMI_CONFIG_PASSPHRASE_FILE": str(settings.passphrase_file),
        # A stack file that lost the lab's salt (git checkout) gets the same one again.
        "PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "AEGIS_REGISTRY": settings.addresses.registry,
        "AEGIS_BASE_IMAGE": base.build,
        "AEGIS_RUNTIME_IMAGE": base.runtime,
        "AEGIS_PLATFORM": f"linux/{architecture()}",
        "AEGIS_LAB": str(settings.state),
        **({} if postgres is None else {"AEGIS_POSTGRES_IMAGE": postgres}),
        **ingress.variables(settings),
    }


def _without_proxy(settings: LabSettings) -> dict[str, str]:
    """Return what keeps a proxy, where the machine uses one, out of the lab's network."""
    if not any(os.environ.get(name) for name in PROXIES):
        return {}
    own = [str(settings.addresses.network), str(settings.addresses.node), ".cluster.local"]
    known = (os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or "").split(",")
    value = ",".join([*(name for name in known if name and name not in own), *own])
    return {"NO_PROXY": value, "no_proxy": value}


def search_path(settings: LabSettings) -> str:
    """Return the PATH of the lab's shell: its programs, the checkout's venv, what there was."""
    venv = str(settings.checkout / ".venv" / "bin")
    others = plugin_cache.outer_path(settings).split(os.pathsep)
    own = [str(plugin_cache.programs(settings)), venv]
    return os.pathsep.join([*own, *(p for p in others if p not in own)])


def environment(settings: LabSettings) -> dict[str, str]:
    """Return the whole environment of a program that works against the lab."""
    inherited = {k: v for k, v in os.environ.items() if k != "PULUMI_CONFIG_PASSPHRASE"}
    return {**inherited, **variables(settings), "PATH": search_path(settings)}


def prepare(settings: LabSettings, pulumi: Path) -> None:
    """Make passphrase, state backend and salt, unless they are there.

    Args:
        settings: The lab.
        pulumi: The CLI.
    """
    settings.backend.mkdir(parents=True, exist_ok=True)
    settings.pulumi_home.mkdir(parents=True, exist_ok=True)
    if not settings.passphrase_file.exists():
        partial = settings.passphrase_file.with_suffix(".partial")
        partial.touch(mode=0o600)
        partial.write_text(secrets.token_urlsafe(24) + "\n")
        partial.replace(settings.passphrase_file)
    own = salt.create(settings, pulumi, environment(settings))
    require_no_foreign_salt(settings)
    salt.attach(settings, own)


def require_no_foreign_salt(settings: LabSettings) -> None:
    """Check that the stack to deploy has no salt of a team's own stack.

    Needs nothing of the lab, so that it can be asked before tools are built for a quarter of an
    hour.

    Raises:
        LabError: It has one; it goes with another passphrase than the lab's.
    """
    path = settings.checkout / f"Pulumi.{FIRST_STACK}.yaml"
    found = salt.found_in(path)
    if found not in (None, salt.kept(settings), salt.former(settings)):
        raise refused(
            f"{path.name} belongs to a {FIRST_STACK} stack of your own",
            f"its {salt.KEY} goes with that stack's passphrase, not with the lab's",
            f"use another checkout for the lab, one without that line in {path.name}",
        )


def deploy_first(settings: LabSettings, pulumi: Path) -> dict[str, str]:
    """Deploy the development stack with plain `pulumi up` and return its outputs.

    What the CLI prints goes through to the person: it is what they will see from now on.

    Args:
        settings: The lab.
        pulumi: The CLI.

    Raises:
        LabError: The update failed; the CLI has said why.
    """
    env = environment(settings)
    pulumi_stack = [str(pulumi), "stack"]
    listed = run(
        [*pulumi_stack, "ls", "--json"], what="list the stacks", cwd=settings.checkout, env=env
    )
    if FIRST_STACK not in [row["name"] for row in json.loads(listed)]:
        run(
            [*pulumi_stack, "init", FIRST_STACK, "--non-interactive"],
            what=f"make the stack {FIRST_STACK}",
            cwd=settings.checkout,
            env=env,
        )
    _clear_orphaned_lock(settings)
    if _has_pending_operations(settings):
        run(
            [
                *(str(pulumi), "refresh", "--stack", FIRST_STACK, "--yes", "--skip-preview"),
                *("--non-interactive", "--clear-pending-creates"),
            ],
            what=f"clear what an interrupted update of {FIRST_STACK} left pending",
            cwd=settings.checkout,
            env=env,
            timeout=300,
        )
    up = [str(pulumi), "up", "--stack", FIRST_STACK, "--yes", "--skip-preview"]
    if not sys.stdout.isatty():
        up.append("--non-interactive")
    done = subprocess.run(
        up,
        cwd=settings.checkout,
        env=env,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode != 0:
        raise LabError(
            what=f"the stack {FIRST_STACK} could not be deployed",
            why=f"`pulumi up --stack {FIRST_STACK}` exited with {done.returncode}; "
            "what it printed above says why",
            state="the lab runs; what was deployed before still serves",
            next='eval "$(make -s env)" && pulumi up --stack development',
        )
    shown = run(
        [*pulumi_stack, "output", "--json", "--stack", FIRST_STACK],
        what="read the stack's outputs",
        cwd=settings.checkout,
        env=env,
    )
    return {str(k): str(v) for k, v in json.loads(shown).items()}


def _clear_orphaned_lock(settings: LabSettings) -> None:
    """Remove locks that an `up` of this machine left behind when it was killed.

    Only a lock whose process is gone is removed; the file names its process (design.md 7).
    """
    from lab.daemon import start_time

    for lock in settings.backend.glob(f".pulumi/locks/**/{FIRST_STACK}/*.json"):
        try:
            holder = int(json.loads(lock.read_text())["pid"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if start_time(holder) is None or not _is_pulumi(holder):
            lock.unlink(missing_ok=True)


def _is_pulumi(pid: int) -> bool:
    """Return whether a process is a Pulumi CLI; the kernel may have given its id away."""
    try:
        return "pulumi" in Path(f"/proc/{pid}/comm").read_text()
    except OSError:
        return False


def _has_pending_operations(settings: LabSettings) -> bool:
    """Return whether an update of the stack was killed before it could finish a step."""
    states = settings.backend.glob(f".pulumi/stacks/*/{FIRST_STACK}.json")
    try:
        checkpoints = [json.loads(path.read_text())["checkpoint"] for path in states]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return any((found.get("latest") or {}).get("pending_operations") for found in checkpoints)
