"""What reviewers are told: the danger first, nothing of it markup, nothing too long."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from typing import Any

import pytest

from aegis_deploy.common.errors import AegisError
from aegis_deploy.model.database.schema import CodeSchema, DatabaseSchema
from aegis_deploy.model.events import Changes, Step, Violation
from aegis_deploy.model.migration.schema_plan import Foreseen, PendingRevision
from aegis_deploy.model.routes.route_findings import Fault, RouteFindings
from aegis_deploy.report.preview_summary import (
    COMMENT_LIMIT,
    MARK,
    Danger,
    StackPreview,
    counts,
    images,
    lines,
    markdown,
    replicas,
    risks,
)
from tests.unit.aegis_deploy.hostile import (
    HOSTILE,
    MENTION,
    rows_of,
    tags,
    without_code,
    without_fences,
)

DEPLOYMENT = "kubernetes:apps/v1:Deployment"
OLD = "registry:5000/aegis@sha256:" + "a" * 64


def step(op: str, kind: str = DEPLOYMENT, name: str = "api", **more: Any) -> Step:
    urn = f"urn:pulumi:s::p::{kind}::{name}"
    return Step(op=op, urn=urn, type=kind, name=name, object=name, **more)


class Looked(str):
    """A text that counts how often it is put into words."""

    looks = 0

    def __str__(self) -> str:
        self.looks += 1
        return str.__str__(self)


def core(kind: str) -> str:
    return f"kubernetes:core/v1:{kind}"


class TestRisks:
    """What a change can cost."""

    @pytest.mark.parametrize(
        ("given", "danger"),
        [
            (step("replace", keys=("spec.selector",)), Danger.DOWNTIME),
            (step("delete"), Danger.DOWNTIME),
            (step("update", replicas=0, replicas_before=2), Danger.DOWNTIME),
            (step("update", strategy="Recreate"), Danger.DOWNTIME),
            (step("update", replicas=1, replicas_before=2), Danger.CAPACITY),
            (step("replace", core("Service"), keys=("spec.clusterIP",)), Danger.DOWNTIME),
            (step("delete", core("Service")), Danger.DOWNTIME),
            (step("delete", core("Namespace")), Danger.DATA),
            (step("replace", core("PersistentVolumeClaim")), Danger.DATA),
            (step("delete", "kubernetes:policy/v1:PodDisruptionBudget"), Danger.CAPACITY),
            (step("delete", "kubernetes:networking.k8s.io/v1:NetworkPolicy"), Danger.PROTECTION),
            (step("delete", core("ResourceQuota")), Danger.PROTECTION),
            (step("delete", core("ServiceAccount")), Danger.REMOVAL),
            (step("replace", "kubernetes:batch/v1:Job"), Danger.REMOVAL),
        ],
    )
    def test_are_named(self, given: Step, danger: Danger) -> None:
        [risk] = risks(Changes((given,)))
        assert risk.danger is danger
        assert "api" in risk.resource

    @pytest.mark.parametrize(
        "given",
        [
            step("update", replicas=3, replicas_before=2, strategy="RollingUpdate"),
            step("create"),
            step("same", strategy="Recreate"),
            step("delete", core("ConfigMap")),
            step("replace", core("Secret")),
            step("delete", "docker:index/image:Image"),
        ],
    )
    def test_what_costs_nothing_is_none(self, given: Step) -> None:
        assert risks(Changes((given,))) == []

    def test_a_replacement_says_which_field_forces_it(self) -> None:
        [risk] = risks(Changes((step("replace", keys=("spec.selector",)),)))
        assert "spec.selector" in risk.why

    def test_the_worst_comes_first(self) -> None:
        given = (
            step("update", replicas=1, replicas_before=2),
            step("delete", core("Namespace"), "n"),
        )
        assert [it.danger for it in risks(Changes(given))] == [Danger.DATA, Danger.CAPACITY]


class TestTheTable:
    """Counts, images, replicas."""

    def test_a_replacements_three_steps_count_once(self) -> None:
        given = tuple(step(op) for op in ("create-replacement", "replace", "delete-replaced"))
        assert counts(Changes(given)) == {"+": 0, "~": 0, "-": 0, "±": 1}

    def test_components_and_providers_are_not_counted(self) -> None:
        given = (
            step("create", "pulumi:providers:kubernetes"),
            step("create", "aegis:x:Y", custom=False),
        )
        assert sum(counts(Changes(given)).values()) == 0

    def test_an_image_that_has_to_be_built_is_not_known(self) -> None:
        given = step("update", images=("",), images_before=(OLD,))
        assert images(Changes((given,))) == (f"aegis@sha256:{'a' * 12}", "built by the update")

    def test_replicas_are_summed(self) -> None:
        given = (
            step("update", replicas=3, replicas_before=2),
            step("same", name="b", replicas=1, replicas_before=1),
        )
        assert replicas(Changes(given)) == (3, 4)


class TestTheComment:
    """One comment, found again by its mark."""

    def preview(self, *steps: Step, **more: Any) -> StackPreview:
        return StackPreview(stack="staging", changes=Changes(steps, **more))

    def test_it_begins_with_its_mark(self) -> None:
        assert markdown([self.preview()]).startswith(MARK)

    def test_violations_stand_above_risks_and_risks_above_the_table(self) -> None:
        text = markdown(
            [
                self.preview(
                    step("delete"),
                    violations=(Violation("digest", "pin it", mandatory=True),),
                )
            ]
        )
        assert text.index("CAUTION") < text.index("WARNING") < text.index("| stack |")

    def test_hostile_names_stay_text(self) -> None:
        text = markdown([self.preview(step("create", name="</code><script>|@all"))])
        assert "<script>" not in text
        assert "@all" not in text

    def test_a_stack_that_cannot_be_previewed_says_so(self) -> None:
        failed = StackPreview(
            stack="production", error=AegisError(what="no passphrase", why="none is set")
        )
        text = markdown([self.preview(), failed])
        assert "could not be previewed: no passphrase" in text
        assert not failed.good

    def test_it_is_never_too_long_and_has_something_of_everything(self) -> None:
        many = [step("update", name=f"n{i}", diffs=("spec",) * 50) for i in range(2000)]
        many += [step("delete", name=f"gone{i}") for i in range(2000)]
        broken = tuple(Violation("digest", "#" * 900, f"u{i}", mandatory=True) for i in range(900))
        given = self.preview(*many, violations=broken, warnings=("slow " * 200,) * 900)
        for limit in (COMMENT_LIMIT, 9000):
            text = markdown([given, given, given], limit=limit)
            assert len(text) <= limit
            assert text.count("CAUTION") == text.count("WARNING") == 3
            assert text.count("<details>") == text.count("</details>") == 3
            assert "| staging |" in text
            assert " more" in text

    def test_what_is_left_out_costs_nothing(self) -> None:
        def looks(number: int) -> int:
            path = Looked("spec.replicas")
            steps = [step("update", name=f"n{i}", diffs=(path,)) for i in range(number)]
            text = markdown([self.preview(*steps)], limit=2000)
            assert " more_" in text
            return path.looks

        assert 0 < looks(1000) == looks(100)

    def test_a_stacks_name_is_itself_where_markdown_is_not_read(self) -> None:
        given = StackPreview(stack="staging-eu_2", changes=Changes((step("create"),)))
        assert "<summary>staging-eu_2: 1 resources</summary>" in markdown([given])

    def test_a_violation_is_told_where_nothing_changes(self) -> None:
        text = markdown([self.preview(violations=(Violation("digest", "pin it", mandatory=True),))])
        assert "pin it" in text
        assert "is refused by policy" in text

    @pytest.mark.parametrize("hostile", HOSTILE)
    def test_nothing_that_comes_from_elsewhere_is_markup(self, hostile: str) -> None:
        error = AegisError(what=hostile, why=f"log: {hostile}", next=hostile)
        given = [
            self.preview(
                step("replace", name=hostile, keys=(hostile,), diffs=(hostile,)),
                step("update", name="b", images=(hostile,), images_before=(f"x/{hostile}",)),
                violations=(Violation(hostile, hostile, f"a::{hostile}", mandatory=True),),
                warnings=(hostile,),
            ),
            StackPreview(stack=hostile, error=error),
        ]
        text = markdown(given)
        shown, fenced = without_fences(text)
        assert fenced
        assert tags(shown) <= {"details", "summary", "code"}
        assert not MENTION.search(html.unescape(without_code(shown)))
        assert not re.search(r"(?<!\\)\]\(", shown)
        assert len({row.replace("\\|", "").count("|") for row in rows_of(shown)}) <= 2

    def test_a_mandatory_violation_is_not_good_and_an_advice_is(self) -> None:
        assert not self.preview(violations=(Violation("a", "b", mandatory=True),)).good
        assert self.preview(violations=(Violation("a", "b"),)).good


def test_the_terminal_names_risks_and_resources() -> None:
    changes = Changes((step("replace", keys=("spec.selector",), diffs=("spec",)),))
    text = "\n".join(lines(StackPreview(stack="staging", changes=changes)))
    assert "staging: ±1" in text
    assert "DOWNTIME  Deployment api" in text
    assert "± Deployment api [spec]" in text


class TestMigrates:
    """A review says how far a change takes the database."""

    CHANGES = Changes(
        (
            step("update", schema=CodeSchema(head=5, least=4)),
            step("create", "kubernetes:batch/v1:Job", "api-migrate-5", migrates=True),
        ),
        {},
        (),
    )

    def test_is_told_to_people_and_machines(self) -> None:
        database = DatabaseSchema(revision=3, least_head=1)
        found = StackPreview(stack="s", changes=self.CHANGES, database=database)
        assert found.as_json()["migrates"] == {
            "revision": 3,
            "head": 5,
            "irreversible": None,
        }
        assert [it for it in lines(found) if it.startswith("  migrates 3 -> 5")]
        assert "**s** migrates 3 " in markdown([found])

    def test_says_what_cannot_be_gone_back_past(self) -> None:
        code = CodeSchema(head=5, least=4, irreversible=5)
        migrates = step("create", "kubernetes:batch/v1:Job", "api-migrate-5", migrates=True)
        changes = Changes((step("update", schema=code), migrates), {}, ())
        found = StackPreview(
            stack="s", changes=changes, database=DatabaseSchema(revision=4, least_head=0)
        )
        assert [it for it in lines(found) if it.startswith("  revision 5 is irreversible")]
        assert "**s** revision 5 is irreversible" in markdown([found])

    def test_has_each_revision_ahead_with_what_squawk_has_against_it(self) -> None:
        revision = PendingRevision(
            number=4, kind="expand", about="Renames | it", lint=("renaming-table: it <breaks>",)
        )
        foreseen = Foreseen(revisions=(revision,))
        found = StackPreview(
            stack="s",
            changes=self.CHANGES,
            database=DatabaseSchema(revision=3, least_head=1),
            foreseen=foreseen,
        )
        shown = lines(found)
        at = shown.index("    revision 4 (expand): Renames | it")
        assert shown[at - 1].startswith("  migrates 3 -> 5")
        assert shown[at + 1] == "        squawk: renaming-table: it <breaks>"
        (row,) = [it for it in markdown([found]).splitlines() if it.startswith("| 4 |")]
        assert "renaming-table" in row
        assert "<breaks>" not in row
        pending = found.as_json()["pending"]
        assert pending == foreseen.as_json()
        blind = replace(found, foreseen=Foreseen(unknown="false: exit 1"))
        assert "    which revisions those are is not known: false: exit 1" in lines(blind)
        assert "which revisions those are is not known" in markdown([blind])

    def test_is_nothing_where_the_database_is_there(self) -> None:
        database = DatabaseSchema(revision=5, least_head=1)
        found = StackPreview(stack="s", changes=self.CHANGES, database=database)
        assert found.as_json()["migrates"] is None
        assert "migrates" not in markdown([found]) + "".join(lines(found)[:1])


class TestTheWayIn:
    """What would lead nowhere from outside is told first, and makes a preview no good."""

    FAULT = Fault(why=f"Ingress n/a: there is no IngressClass {HOSTILE}", next="set another")

    def test_a_fault_is_told_with_what_mends_it(self) -> None:
        found = StackPreview(
            stack="s", changes=Changes(), routes=RouteFindings(faults=(self.FAULT,))
        )
        assert not found.good
        assert [f"  UNREACHABLE  {self.FAULT.why}", "    set another"] == lines(found)[1:3]
        assert found.as_json()["routes"] == {
            "faults": [{"why": self.FAULT.why, "next": "set another"}],
            "warnings": [],
        }
        said = markdown([found])
        assert "**s** would not be reached from outside:" in said
        assert not tags(said)

    def test_a_warning_leaves_it_good(self) -> None:
        found = StackPreview(
            stack="s", changes=Changes(), routes=RouteFindings(warnings=("soon over",))
        )
        assert found.good
        assert "  warning: soon over" in lines(found)
        assert "> - soon over" in markdown([found])
        assert "from outside" not in markdown([StackPreview(stack="s", changes=Changes())])
