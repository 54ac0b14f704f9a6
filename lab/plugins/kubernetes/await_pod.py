"""Pods: when one is ready, and what to tell people when it is not."""

from __future__ import annotations

from lab.plugins.kubernetes.awaiting import DELETED, Condition
from lab.plugins.kubernetes.objects import Object, condition, items, label, name_of, nested, text

_DAEMON_PREFIX = "rpc error: code = Unknown desc = Error response from daemon: "


def pod_problem(pod: Object) -> str | None:
    """Return what keeps a pod from being ready, None when nothing is known to.

    Containers are quoted with their waiting reason (ImagePullBackOff, CrashLoopBackOff), how they
    ended last (OOMKilled, exit code) and their termination message, which holds the last log
    lines when the pod asks for that.
    """
    scheduled = condition(pod, "PodScheduled")
    if scheduled is not None and scheduled.get("status") != "True":
        message = text(scheduled, "message")
        reason = text(scheduled, "reason")
        return f"[Pod {label(pod)}]: [{reason}] {message}" if message else None
    for kind in ("Initialized", "Ready"):
        state = condition(pod, kind)
        if state is None:
            return None
        if state.get("status") == "True" or nested(pod, "status", "phase") == "Succeeded":
            continue
        problems = _container_problems(pod)
        explained = text(state, "message") if text(state, "reason") else ""
        if problems or explained:
            return f"[Pod {label(pod)}]: " + "\n".join(filter(None, [explained, *problems]))
        return None
    return None


def pod_ready(pod: Object) -> bool:
    """Say whether a pod is scheduled, initialized and ready, or has succeeded."""
    if nested(pod, "status", "phase") == "Succeeded":
        return True
    states = [condition(pod, kind) for kind in ("PodScheduled", "Initialized", "Ready")]
    return all(state is not None and state.get("status") == "True" for state in states)


def _container_problems(pod: Object) -> list[str]:
    problems: list[str] = []
    for field in ("initContainerStatuses", "containerStatuses"):
        for status in items(pod, "status", field):
            if status.get("ready") is not True:
                problems += _container_problem(status)
    return problems


def _container_problem(status: Object) -> list[str]:
    found = []
    name = status.get("name")
    waiting = nested(status, "state", "waiting")
    if waiting and waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
        found.append(f"[{waiting['reason']}] {_trimmed(waiting.get('message'))}".rstrip())
    ended = nested(status, "state", "terminated")
    if ended and ended.get("reason") and ended.get("exitCode") != 0:
        found.append(
            f"[{ended['reason']}] {_trimmed(ended['message'])}"
            if ended.get("message")
            else f'container "{name}" completed with exit code {ended.get("exitCode")}'
            f" ({ended['reason']})"
        )
    last = nested(status, "lastState", "terminated")
    if last:
        found.append(
            f'container "{name}" terminated at {last.get("finishedAt")} '
            f"({last.get('reason')}: exit code {last.get('exitCode')})"
        )
        found += [str(last["message"]).rstrip()] if last.get("message") else []
    return found


def _trimmed(message: object) -> str:
    return str(message or "").removeprefix(_DAEMON_PREFIX).removesuffix(": manifest unknown")


class PodReady(Condition):
    """A bare Pod: ready, or finished well."""

    def observe(self, event: str, obj: Object, now: float) -> None:  # noqa: ARG002
        """Keep the pod's state."""
        if self.is_mine(obj) and event != DELETED:
            self.live = obj

    def met(self, now: float) -> bool:  # noqa: ARG002
        """Say whether the pod is ready."""
        return pod_ready(self.live)

    def progress(self) -> str:
        """Name the first stage the pod has not reached."""
        for kind, verb in (
            ("PodScheduled", "scheduled"),
            ("Initialized", "initialized"),
            ("Ready", "ready"),
        ):
            state = condition(self.live, kind)
            if state is None or state.get("status") != "True":
                return f'Waiting for Pod "{label(self.live)}" to be {verb}'
        return ""

    def warnings(self) -> list[str]:
        """Return the pod's problem."""
        problem = pod_problem(self.live)
        return [problem] if problem else []

    def reasons(self) -> list[str]:
        """Return the pod's problem, or that there is none to see."""
        return self.warnings() or [f"Pod {name_of(self.live)!r} did not become ready"]


def problems_of(pods: dict[str, Object]) -> list[str]:
    """Return the problems of several pods, the same text once."""
    found = [pod_problem(pod) for _name, pod in sorted(pods.items())]
    return list(dict.fromkeys(problem for problem in found if problem))


def selector_text(selector: object) -> str:
    """Write a label selector (matchLabels, matchExpressions) as a query parameter."""
    parts = [f"{key}={value}" for key, value in (nested(selector, "matchLabels") or {}).items()]
    for expression in items(selector, "matchExpressions"):
        key, operator = text(expression, "key"), text(expression, "operator")
        values = ",".join(map(str, expression.get("values") or ()))
        form = {"Exists": key, "DoesNotExist": f"!{key}"}
        parts.append(form.get(operator) or f"{key} {operator.lower()} ({values})")
    return ",".join(parts)
