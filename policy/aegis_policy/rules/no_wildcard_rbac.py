"""Nobody is given everything."""

from __future__ import annotations

from collections.abc import Iterator

from ..resources import Resource, Stack, listed, look
from ..rule import Level, Rule

_LISTS = ("verbs", "resources", "apiGroups", "nonResourceURLs")
_RAISES = ("bind", "escalate", "impersonate")
_ALL_POWERFUL = ("cluster-admin", "admin", "system:masters")
_EVERYBODY = ("system:anonymous", "system:unauthenticated", "system:authenticated")


def _check(resource: Resource, stack: Stack) -> Iterator[str]:  # noqa: ARG001
    for number, rule in enumerate(listed(resource.inputs, "rules")):
        for field in _LISTS:
            if "*" in listed(rule, field):
                yield f"rules[{number}].{field} is *: all there is. List what is needed."
        for verb in _RAISES:
            if verb in listed(rule, "verbs"):
                yield f"rules[{number}].verbs has {verb}, a way to any other right. Remove it."
    role = look(resource.inputs, "roleRef", "name")
    if role in _ALL_POWERFUL:
        yield f"it gives {role}, which may do everything. Make a Role of what is needed."
    for subject in listed(resource.inputs, "subjects"):
        name = look(subject, "name")
        if name in _EVERYBODY or name == "system:serviceaccounts":
            yield f"it gives its role to {name}, which is everybody. Name a ServiceAccount."


RULE = Rule(
    name="no-wildcard-rbac",
    level=Level.MANDATORY,
    says="Nobody is given everything: no wildcards, no way to more rights.",
    check=_check,
    kinds=("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"),
)
