"""What the end-to-end tests are about, which no import shows: they run commands, not modules.

`make affected` reads it (`tests/affected.py`). A test's subject is the commands that it types, the
program that it deploys, and whatever else of the repository it plays; what these import belongs to
it as well. Every one of the tests runs on the lab and on its plugins, but these are the subject
only of those that are named here with them.
"""

from __future__ import annotations

_PROGRAM = (
    *("__main__.py", "Pulumi.yaml", "Pulumi.development.yaml", "Pulumi.staging.yaml"),
    *("Pulumi.production.yaml", "Dockerfile", ".dockerignore", "app/"),
)
_STAND_INS = ("lab/plugins/kubernetes/", "lab/plugins/docker/", "lab/plugins/language/")
_WORKFLOWS = (".github/workflows/", "docs/pipeline-reader.yaml", "policy/")


def _commands(*names: str) -> tuple[str, ...]:
    commands = (f"aegis_deploy/cli/commands/{name}.py" for name in names)
    return ("aegis_deploy/cli/main.py", *commands)


SUBJECTS: dict[str, tuple[str, ...]] = {
    "tests/e2e/stand.py": _PROGRAM,
    "tests/e2e/guarded_stand.py": _commands("deploy"),
    "tests/e2e/nodes_stand.py": (
        *_PROGRAM,
        "lab/nodes.py",
        *_commands("deploy", "drift"),
    ),
    "tests/e2e/faulty_stand.py": _commands("deploy", "rollback", "recover"),
    "tests/languages/programs.py": ("tests/languages/",),
    "tests/e2e/test_added.py": _commands("deploy", "rollback", "recover", "history", "status"),
    "tests/e2e/test_autoscale.py": _commands(
        "deploy", "rollback", "drift", "status", "config", "history"
    ),
    "tests/e2e/test_autoscaled.py": _commands("deploy", "rollback", "drift", "status"),
    "tests/e2e/stored_stand.py": ("lab/database.py", *_commands("deploy")),
    "tests/e2e/test_database.py": (
        *_WORKFLOWS,
        *_commands("deploy", "status", "migrate", "recover", "github"),
    ),
    "tests/e2e/test_deploy.py": _STAND_INS,
    "tests/e2e/test_external_route.py": (
        *("lab/ingress.py", "lab/contour.py", "lab/contour_manifests.py"),
        *_commands("deploy", "rollback", "recover", "drift"),
    ),
    "tests/e2e/test_faults_by_hand.py": _commands("drift"),
    "tests/e2e/test_faults_cluster.py": ("lab/outage.py", "lab/network_policies.py"),
    "tests/e2e/test_gate.py": ("aegis_deploy/gate/analysis.py",),
    "tests/e2e/test_guard.py": _commands("deploy", "recover", "guard"),
    "tests/e2e/test_lab.py": ("lab/", "Makefile"),
    "tests/e2e/test_languages.py": _commands("deploy", "rollback"),
    "tests/e2e/test_manifests.py": ("lab/tools/kubernetes/",),
    "tests/e2e/test_network_policies.py": (
        *("components/namespace.py", "components/postgres.py", "components/migration.py"),
        *("lab/network_policies.py", "lab/tools/policies/", "docs/policy.md"),
    ),
    "tests/e2e/test_nodes.py": _commands("deploy", "rollback", "config"),
    "tests/e2e/test_pipeline.py": (
        *_WORKFLOWS,
        *_commands("preview", "promote", "deploy", "recover", "drift", "github", "report"),
    ),
    "tests/e2e/test_pipeline_faults.py": (
        *_WORKFLOWS,
        *_commands("preview", "promote", "deploy", "recover", "drift", "github"),
    ),
    "tests/e2e/test_postgres_inside.py": (
        *("components/postgres_server.sh", "components/postgres_backup.sh"),
        *("components/postgres_restore.sh", "lab/tools/storage/"),
        *_commands("data_refresh", "rollback", "history", "status", "deploy"),
    ),
    "tests/e2e/test_recover.py": _commands("deploy", "rollback", "recover"),
    "tests/e2e/test_replay.py": ("lab/plugins/kubernetes/",),
    "tests/e2e/test_replay_image.py": ("lab/plugins/docker/",),
    "tests/e2e/test_replay_order.py": ("aegis_deploy/flows/rollback.py",),
    "tests/e2e/test_rollback.py": (
        "aegis_deploy/report/templates/",
        *_commands(
            *("deploy", "rollback", "history", "status", "show", "diff", "gate", "config", "report")
        ),
    ),
    "tests/e2e/test_sampling.py": (
        *("data.Dockerfile", "requirements-data.txt", "data-rules.yaml", "lab/database.py"),
        *_commands("data_sample", "data_load"),
    ),
    "tests/e2e/test_schema_fit.py": _commands(
        "deploy", "rollback", "history", "status", "migrate", "drift", "preview"
    ),
    "tests/e2e/test_sets.py": _commands("deploy", "rollback", "status"),
    "tests/e2e/test_two_clusters.py": _commands("deploy", "rollback", "drift", "status", "gate"),
    "tests/e2e/test_unhealthy_rollback.py": _commands("deploy", "rollback", "history"),
    "tests/e2e/test_way_in.py": (
        *("components/external_route.py", "lab/ingress.py", "lab/contour.py"),
        *("lab/contour_manifests.py", "lab/tools/contour/", "lab/tools/requirements-envoy.txt"),
        *_commands("deploy", "rollback", "config"),
    ),
}
"""File -> paths, and directories with a slash at their end."""
