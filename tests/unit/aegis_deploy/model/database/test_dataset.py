"""Which data set a release works on, and what is known of the databases."""

from __future__ import annotations

import pytest

from aegis_deploy.model.database import dataset
from aegis_deploy.model.database.dataset import Databases
from aegis_deploy.model.database.schema import CodeSchema, DatabaseSchema

NAME = "0123456789abcdef" * 4
CODE = CodeSchema(head=3, least=2)


def test_a_database_has_the_data_set_s_name_once_it_is_whole() -> None:
    made = dataset.database_of("shop", NAME)
    assert made == "shop_0123456789ab"
    assert dataset.short_of("shop", made) == dataset.short(NAME)
    assert not dataset.short_of("shop", dataset.beside(made))


@pytest.mark.parametrize("name", ["shop", "shop_", "shop_0123", "other_0123456789ab", "shop_x" * 2])
def test_another_database_is_of_none(name: str) -> None:
    assert not dataset.short_of("shop", name)


@pytest.mark.parametrize(("said", "found"), [(NAME, NAME), (NAME[1:], ""), (7, ""), (None, "")])
def test_a_workload_says_it_by_an_annotation_and_a_program_by_an_output(
    said: object, found: str
) -> None:
    annotations = {"metadata": {"annotations": {dataset.DATASET: said}}}
    assert dataset.of_manifests([{}, {"spec": {"template": annotations}}]) == found
    assert dataset.of_outputs({"dataset": said}) == found


class TestDatabases:
    """Each release is held against the database that it has."""

    databases = Databases(
        first=DatabaseSchema(revision=1, least_head=0),
        datasets={
            dataset.short(NAME): DatabaseSchema(revision=3, least_head=0),
            "f" * 12: None,
            "c" * 12: DatabaseSchema(revision=4, least_head=4),
        },
    )

    @pytest.mark.parametrize(
        ("of", "why"),
        [
            ("", "it needs the database at revision 2 or later, and that is at 1"),
            (NAME, ""),
            ("f" * 64, ""),
            ("c" * 64, "works with code of revision 4 or later"),
            ("d" * 64, "its data set dddddddddddd is not on the server any more"),
        ],
    )
    def test_one_that_does_not_fit_or_is_gone_is_told(self, of: str, why: str) -> None:
        found = self.databases.misfit(CODE, of)
        assert why in found if why else not found

    def test_what_is_learnt_of_one_changes_no_other(self) -> None:
        schema = DatabaseSchema(revision=9, least_head=9)
        learnt = self.databases.with_one(NAME, schema)
        assert learnt.of(NAME) == schema
        assert learnt.first == self.databases.first
        assert learnt.of("c" * 64) == self.databases.of("c" * 64)
