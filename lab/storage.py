"""Volumes for claims: the default storage class, and the daemon that makes directories for it.

A stand-in for a storage driver. A volume is a directory below the lab's state; it goes when its
claim does, and with the state when that is purged. Its size is not enforced.
"""

from __future__ import annotations

from lab import packages, pki
from lab.cluster import NODE
from lab.daemon import Daemon, Supervisor
from lab.settings import LabSettings
from lab.toolchain import STORAGE, Toolchain

NAME = "storage"
CLASS = "directories"
PROVISIONER = "aegis.lab/directories"
CLIENT = "storage"
"""Whose kubeconfig the daemon has; see `lab.pki`."""


def start(settings: LabSettings, supervisor: Supervisor) -> None:
    """Start the daemon that makes volumes."""
    directory = settings.state / "volumes"
    directory.mkdir(parents=True, exist_ok=True)
    conf = pki.kubeconfig(settings, CLIENT)
    supervisor.start(
        Daemon(
            name=NAME,
            argv=[
                str(Toolchain(settings).path(STORAGE)),
                f"--name={PROVISIONER}",
                f"--kubeconfig={conf}",
                f"--directory={directory}",
                f"--node={NODE}",
            ],
            environment={"PATH": packages.search_path(settings)},
            # One with the keys of a cluster that is gone would ask for ever.
            configuration=conf.read_text(),
        )
    )


def manifests() -> list[dict[str, object]]:
    """Return the storage class, and what lets the daemon make volumes for it."""
    rbac = "rbac.authorization.k8s.io"
    return [
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {
                "name": CLASS,
                "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
            },
            "provisioner": PROVISIONER,
            "reclaimPolicy": "Delete",
            "volumeBindingMode": "WaitForFirstConsumer",
            # The directories are the first node's, whatever others there are.
            "allowedTopologies": [
                {"matchLabelExpressions": [{"key": "kubernetes.io/hostname", "values": [NODE]}]}
            ],
        },
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "aegis-lab-storage"},
            "roleRef": {
                "apiGroup": rbac,
                "kind": "ClusterRole",
                "name": "system:persistent-volume-provisioner",
            },
            "subjects": [
                {"apiGroup": rbac, "kind": "User", "name": pki.CLIENTS[CLIENT][0]},
            ],
        },
    ]
