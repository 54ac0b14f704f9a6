"""A timeline of a release that failed its gate and was rolled back, with hostile texts in it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from aegis_deploy.model.probe_metrics import Answer
from aegis_deploy.model.timeline import (
    GATE,
    PREVIEW,
    ROLLBACK,
    UPDATE,
    Judgement,
    PodSample,
    Span,
    Timeline,
    probe_samples,
)
from aegis_deploy.model.workloads.rollout import Group
from aegis_deploy.report.recorder import name_of
from aegis_deploy.report.timeline_store import keep
from aegis_deploy.stack.session import Session

HOSTILE = (
    "</script><script>alert(1)</script>",
    "</pre></td><img src=http://evil.example/x onerror=alert(1)>",
    "]]><svg onload=alert(1)> --> <!-- ",
    "| a | b |\n| --- | --- |\n[x](javascript:alert(1)) ![i](http://evil.example/i)",
    "\x1b[2J\x1b]0;owned\x07\u202egnp.exe\u200b",
    "&lt;b&gt; '\" {{ 7 * 7 }} {% raw %}",
    "w" * 5000,
)


def made_timeline(started: datetime, texts: tuple[str, ...] = HOSTILE) -> Timeline:
    """A deploy that began before a release and went on after it."""

    def old(pods: int, ready: int) -> Group:
        return Group(key="shop/web/aaa", name="1.0.0", pods=pods, ready=ready)

    def new(pods: int, ready: int) -> Group:
        return Group(key="shop/web/bbb", name=texts[0], pods=pods, ready=ready)

    answers = [
        (9 + place / 10, Answer(ok=place % 5 != 0, what="200", milliseconds=20.0 + place % 7))
        for place in range(120)
    ]
    answers += [(30 + it / 10, Answer(ok=True, what="200", milliseconds=20.0)) for it in range(90)]
    figures = {"total": 120, "failed": 24, "successRatio": 0.8, "p99Ms": 26.0}
    return Timeline(
        stack="staging",
        command="deploy",
        started=started - timedelta(seconds=3),
        seconds=41.0,
        finished=True,
        outcome="the release failed on staging\n" + "\n".join(texts),
        planned=texts,
        phases=(
            Span(name=PREVIEW, at=0.2, seconds=1.8),
            Span(name=UPDATE, at=2.1, seconds=12.9),
            Span(name=GATE, at=15.1, seconds=6.0, failed=True),
            Span(name=ROLLBACK, at=21.3, seconds=8.0),
            Span(name=GATE, at=29.8, seconds=10.0),
        ),
        steps=(
            *(Span(name=text, at=3.0, seconds=0.2) for text in texts),
            Span(name="update Deployment web", at=3.4, seconds=None),
        ),
        pods=(
            PodSample(at=2.0, wanted=4, groups=(old(4, 4),)),
            PodSample(at=5.0, wanted=4, groups=(old(4, 4), new(1, 0))),
            PodSample(at=9.0, wanted=4, groups=(old(3, 3), new(2, 1))),
            PodSample(at=28.0, wanted=4, groups=(old(4, 4),)),
        ),
        probes=probe_samples(answers),
        judgements=(
            Judgement(
                at=21.1,
                of="release",
                passed=False,
                kind="success-ratio",
                reason=f"24 of 120 probes failed {texts[1]}",
                evidence=texts,
                notes=texts[:1],
                serving=texts[2],
                figures=figures,
            ),
            Judgement(at=39.8, of=ROLLBACK, passed=True, kind="passed", reason="good again"),
        ),
        asked={"successRatio": 0.99, "p99Ms": 30.0},
    )


def put(session: Session, timeline: Timeline) -> None:
    """Keep a timeline where the stack's are."""
    keep(session.store.timelines, name_of(timeline.started.timestamp()), timeline)


def now() -> datetime:
    """A moment that no test depends on."""
    return datetime(2026, 9, 21, 14, 15, tzinfo=UTC)
