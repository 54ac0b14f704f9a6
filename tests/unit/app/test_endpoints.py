"""The endpoints, asked without a network."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from app.database.schema import of_this_code
from app.lifecycle import Lifecycle
from app.service import create_app
from app.settings import Settings

pytestmark = pytest.mark.anyio


async def explode(_request: Request) -> Response:
    raise RuntimeError("kaboom with s3cret inside")


async def break_off(_request: Request) -> Response:
    async def body() -> AsyncIterator[bytes]:
        yield b"half"
        raise RuntimeError("broke off")

    return StreamingResponse(body())


EXTRA = [Route("/explode", explode), Route("/break-off", break_off)]


@asynccontextmanager
async def client(
    lifecycle: Lifecycle | None = None,
    settings: Settings | None = None,
    routes: list[BaseRoute] | None = None,
) -> AsyncIterator[httpx.AsyncClient]:
    lifecycle = lifecycle or ready()
    app = create_app(settings or Settings(), lifecycle, extra_routes=routes or [])
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        yield http


def ready() -> Lifecycle:
    lifecycle = Lifecycle()
    lifecycle.started()
    return lifecycle


def draining() -> Lifecycle:
    lifecycle = ready()
    lifecycle.drain()
    return lifecycle


class TestProbes:
    """Readiness follows the phase; liveness does not."""

    async def test_ready_once_started(self) -> None:
        async with client() as http:
            answer = await http.get("/readyz")
        assert (answer.status_code, answer.json()) == (200, {"status": "ready"})
        assert "connection" not in answer.headers

    @pytest.mark.parametrize(
        ("lifecycle", "phase"), [(Lifecycle(), "starting"), (draining(), "draining")]
    )
    async def test_not_ready_while_starting_or_draining(
        self, lifecycle: Lifecycle, phase: str
    ) -> None:
        async with client(lifecycle) as http:
            answer = await http.get("/readyz")
        assert answer.status_code == 503
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["detail"] == f"The service is {phase}."

    async def test_alive_in_every_phase(self) -> None:
        for lifecycle in (Lifecycle(), ready(), draining()):
            async with client(lifecycle) as http:
                assert (await http.get("/livez")).status_code == 200

    async def test_while_draining_every_response_ends_its_connection(self) -> None:
        async with client(draining(), routes=[*EXTRA]) as http:
            for path in ("/livez", "/readyz", "/version", "/v1/records", "/nope", "/explode"):
                assert (await http.get(path)).headers["connection"] == "close", path


class TestVersion:
    """`/version` names what runs."""

    async def test_it_names_what_runs(self) -> None:
        settings = Settings(version="1.2.3", git_sha="abc")
        async with client(settings=settings) as http:
            answer = await http.get("/version")
        assert answer.json() == {
            "version": "1.2.3",
            "gitSha": "abc",
            "environment": "development",
            "dataProfile": "mock",
            "schema": of_this_code().as_json(),
        }


class TestRecords:
    """`/v1/records` pages through the profile's data."""

    async def test_the_cursor_leads_through_all_of_them(self) -> None:
        seen: list[str] = []
        async with client() as http:
            path = "/v1/records?limit=100"
            while True:
                page = (await http.get(path)).json()
                seen += [item["id"] for item in page["items"]]
                if page["nextCursor"] is None:
                    break
                path = f"/v1/records?limit=100&cursor={page['nextCursor']}"
        assert len(seen) == len(set(seen)) == 1000

    async def test_wrong_parameters_are_a_problem_document(self) -> None:
        async with client() as http:
            answer = await http.get("/v1/records?limit=0&cursor=x")
        problem = answer.json()
        assert answer.status_code == problem["status"] == 400
        assert answer.headers["content-type"] == "application/problem+json"
        assert problem["type"] == "urn:aegis:problem:invalid-parameter"
        assert [error["name"] for error in problem["errors"]] == ["limit", "cursor"]
        assert problem["requestId"] == answer.headers["x-request-id"]

    async def test_a_profile_without_database_is_ready_but_has_no_records(self) -> None:
        async with client(settings=Settings(environment="production", data_profile="real")) as http:
            assert (await http.get("/readyz")).status_code == 200
            answer = await http.get("/v1/records")
        assert answer.status_code == 503
        assert answer.json()["type"] == "urn:aegis:problem:no-database"

    async def test_generated_ones_are_read_one_by_one_and_not_written(self) -> None:
        async with client() as http:
            read = await http.get("/v1/records/rec_00000002")
            head = await http.head("/v1/records/rec_00000002")
            lacks = await http.get("/v1/records/rec_00001001")
            created = await http.post(
                "/v1/records", json={"name": "x"}, headers={"Idempotency-Key": "k"}
            )
            changed = await http.patch("/v1/records/rec_00000002", json={"name": "x"})
        assert (read.status_code, read.headers["etag"]) == (200, '"1"')
        assert read.json()["id"] == "rec_00000002"
        assert (head.status_code, head.content) == (200, b"")
        assert lacks.status_code == 404
        for answer in (created, changed):
            assert answer.status_code == 503
            assert answer.json()["type"] == "urn:aegis:problem:no-database"

    async def test_a_create_needs_its_key_and_a_body_that_is_json(self) -> None:
        async with client() as http:
            keyless = await http.post("/v1/records", json={"name": "x"})
            key = {"Idempotency-Key": "k"}
            plain = await http.post("/v1/records", content=b"x", headers=key)
        assert keyless.status_code == 400
        assert keyless.json()["type"] == "urn:aegis:problem:idempotency-key"
        assert plain.status_code == 415

    async def test_another_method_is_told_which_are_there(self) -> None:
        async with client() as http:
            answers = [
                await http.delete("/v1/records"),
                await http.post("/v1/records/rec_00000001"),
            ]
        assert [(it.status_code, it.headers["allow"]) for it in answers] == [
            (405, "GET, HEAD, POST"),
            (405, "GET, HEAD, PATCH"),
        ]


class TestProbe:
    """`/probe` says whether there is data to be read and written, and shows none of it."""

    async def test_generated_data_can_be_read_and_not_written(self) -> None:
        async with client(settings=Settings(version="1.2.3")) as http:
            read = await http.get("/probe")
            written = await http.post("/probe")
        assert (read.status_code, read.json()) == (200, {"version": "1.2.3", "data": "read"})
        assert (written.status_code, written.json()["version"]) == (503, "1.2.3")
        assert written.json()["type"] == "urn:aegis:problem:no-database"

    async def test_needs_no_token(self) -> None:
        async with client(settings=TestToken.settings) as http:
            assert (await http.get("/probe")).status_code == 200
            assert (await http.post("/probe")).status_code == 503


class TestToken:
    """`/v1/` needs the token when there is one."""

    settings = Settings.model_construct(
        **Settings(environment="development", data_profile="mock").model_dump()
        | {"api_token": SecretStr("s3cret-token")}
    )

    async def test_the_right_one_opens(self) -> None:
        async with client(settings=self.settings) as http:
            for scheme in ("Bearer", "bearer"):
                answer = await http.get(
                    "/v1/records", headers={"authorization": f"{scheme} s3cret-token"}
                )
                assert answer.status_code == 200

    @pytest.mark.parametrize(
        "authorization", ["Bearer wrong", "Bearer", "Basic s3cret-token", "s3cret-token", ""]
    )
    async def test_any_other_does_not(self, authorization: str) -> None:
        async with client(settings=self.settings) as http:
            answer = await http.get("/v1/records", headers={"authorization": authorization})
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].endswith('error="invalid_token"')
        assert "s3cret" not in answer.text

    async def test_without_one_the_challenge_is_plain(self) -> None:
        async with client(settings=self.settings) as http:
            answer = await http.get("/v1/records")
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == 'Bearer realm="aegis-api"'

    async def test_two_headers_are_refused(self) -> None:
        right = ("authorization", "Bearer s3cret-token")
        async with client(settings=self.settings) as http:
            assert (await http.get("/v1/records", headers=[right, right])).status_code == 401

    async def test_probes_need_none(self) -> None:
        async with client(settings=self.settings) as http:
            for path in ("/livez", "/readyz", "/version", "/metrics"):
                assert (await http.get(path)).status_code == 200


class TestErrors:
    """Every error is a problem document and gives nothing away."""

    @pytest.mark.parametrize("version", ["1.2.3", "unknown"])
    async def test_a_failure_names_the_release_that_failed(self, version: str) -> None:
        named = None if version == "unknown" else version
        async with client(settings=Settings(version=version), routes=[*EXTRA]) as http:
            for path in ("/explode", "/nope", "/v1/records?limit=0"):
                assert (await http.get(path)).json().get("version") == named, path

    async def test_an_unknown_path_is_a_problem_document(self) -> None:
        async with client() as http:
            for path in ("/nope", "/livez/"):
                answer = await http.get(path)
                assert answer.status_code == 404
                assert answer.json()["title"] == "Not Found"

    async def test_a_method_we_do_not_have_says_which_we_do(self) -> None:
        async with client() as http:
            answer = await http.post("/version")
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
        assert answer.json()["status"] == 405

    async def test_a_failure_is_answered_without_its_text_and_logged_with_it(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with client(routes=[*EXTRA]) as http:
            answer = await http.get("/explode", headers={"x-request-id": "mine"})
        assert answer.status_code == 500
        assert "s3cret" not in answer.text
        assert answer.json()["requestId"] == "mine"
        (failure,) = [r for r in caplog.records if r.getMessage() == "request failed"]
        assert failure.exc_info is not None
        assert vars(failure)["request_id"] == "mine"

    async def test_a_response_that_breaks_off_is_not_taken_for_whole(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        async with client(routes=[*EXTRA]) as http:
            with pytest.raises(RuntimeError, match="broke off"):
                await http.get("/break-off")
        (line,) = [r for r in caplog.records if r.getMessage() == "request"]
        assert vars(line)["complete"] is False


class TestRequestLog:
    """Each request is one line of log, without secrets."""

    async def test_one_line_a_request_without_query_and_headers(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG, logger="aegis")
        async with client() as http:
            await http.get("/v1/records?limit=1&token=s3cret", headers={"authorization": "s3cret"})
        (line,) = [r for r in caplog.records if r.name == "aegis.request"]
        members = vars(line)
        assert members["path"] == members["route"] == "/v1/records"
        assert (members["method"], members["status"], members["phase"]) == ("GET", 200, "ready")
        assert "s3cret" not in json.dumps(members, default=str)

    async def test_probes_are_quiet_unless_they_fail(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG, logger="aegis")
        async with client() as http:
            await http.get("/livez")
        async with client(Lifecycle()) as http:
            await http.get("/readyz")
        async with client(draining()) as http:
            await http.get("/readyz")
        levels = [r.levelname for r in caplog.records if r.name == "aegis.request"]
        assert levels == ["DEBUG", "WARNING", "DEBUG"]

    @pytest.mark.parametrize("given", ["", "a b", "x" * 65, 'a"b'])
    async def test_an_id_that_could_forge_a_line_is_replaced(self, given: str) -> None:
        async with client() as http:
            answer = await http.get("/livez", headers={"x-request-id": given})
        assert answer.headers["x-request-id"] != given
        assert len(answer.headers["x-request-id"]) == 32


class TestMetrics:
    """What is measured, under labels from closed sets."""

    async def test_requests_are_counted_by_method_route_and_status(self) -> None:
        async with client() as http:
            for _ in range(3):
                await http.get("/v1/records?limit=1")
            await http.get("/v1/records?limit=0")
            text = (await http.get("/metrics")).text
        labels = 'method="GET",route="/v1/records"'
        assert f'aegis_http_requests_total{{{labels},status="200"}} 3.0' in text
        assert f'aegis_http_requests_total{{{labels},status="400"}} 1.0' in text
        assert f'aegis_http_request_duration_seconds_count{{{labels},status="200"}} 3.0' in text
        assert "aegis_http_requests_in_flight 1.0" in text
        assert "aegis_ready 1.0" in text
        assert "process_resident_memory_bytes" in text
        assert "_created" not in text

    async def test_a_client_cannot_grow_the_number_of_series(self) -> None:
        async with client() as http:
            for number in range(20):
                await http.request(f"BREW{number}", f"/path-{number}")
            text = (await http.get("/metrics")).text
        lines = [line for line in text.splitlines() if line.startswith("aegis_http_requests_total")]
        assert lines == ['aegis_http_requests_total{method="OTHER",route="none",status="404"} 20.0']

    async def test_the_build_is_named(self) -> None:
        async with client(settings=Settings(version="1.2.3", git_sha="abc")) as http:
            text = (await http.get("/metrics")).text
        (line,) = [line for line in text.splitlines() if line.startswith("aegis_build_info{")]
        assert 'version="1.2.3"' in line
        assert 'git_sha="abc"' in line
        assert 'data_profile="mock"' in line

    async def test_openmetrics_is_spoken_when_asked_for(self) -> None:
        accept = {"accept": "application/openmetrics-text; version=1.0.0"}
        async with client() as http:
            answer = await http.get("/metrics", headers=accept)
        assert answer.headers["content-type"].startswith("application/openmetrics-text")
        assert answer.text.endswith("# EOF\n")

    async def test_it_is_not_ready_while_draining(self) -> None:
        async with client(draining()) as http:
            assert "aegis_ready 0.0" in (await http.get("/metrics")).text
