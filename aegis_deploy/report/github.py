"""What a pipeline leaves on GitHub: one comment that is edited in place, one issue a subject.

The only place that talks to GitHub. Both are found again by a mark in their text, so that a hundred
runs leave one of each. https://docs.github.com/en/rest
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aegis_deploy.common.errors import AegisError
from aegis_deploy.report.preview_summary import COMMENT_LIMIT

if TYPE_CHECKING:
    import httpx

_PART = "<!-- aegis part: {} -->"
_PAGE = 100
_PAGES = 30
_SECONDS = 20.0
_MOVES = 3
"""A repository may have been renamed more than once."""
_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _FIRST_ERROR = 401, 403, 404, 400
_TRUSTED = ("OWNER", "MEMBER", "COLLABORATOR")
"""Who may write to the repository: a pipeline may have a person's token."""
_NEXT = {
    _UNAUTHORIZED: "the token is wrong or has expired: pass the job's own as GITHUB_TOKEN",
    _FORBIDDEN: "give the job the permission that is missing; a pull request from a fork has none",
    _NOT_FOUND: "GITHUB_REPOSITORY names owner/name, and the number is one of its own",
}


@dataclass(frozen=True)
class Left:
    """What was left on GitHub.

    Attributes:
        action: created, edited, closed or unchanged.
        url: Where a person finds it; empty when there is nothing.
    """

    action: str
    url: str = ""

    def as_json(self) -> dict[str, str]:
        """Return it for machines."""
        return {"action": self.action, "url": self.url}


class GitHub:
    """One repository.

    Args:
        repository: ``owner/name``.
        token: The job's token.
        api: The API's address.
        transport: What carries the requests; None means the network.
    """

    def __init__(
        self,
        repository: str,
        token: str,
        api: str = "https://api.github.com",
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        import httpx

        self._client = httpx.Client(
            base_url=f"{api.rstrip('/')}/repos/{repository}/",
            headers={
                "Authorization": f"Bearer {token}",
                "Accept": "application/vnd.github+json",
                "X-GitHub-Api-Version": "2022-11-28",
            },
            timeout=_SECONDS,
            transport=transport,
        )

    @classmethod
    def of_job(cls, environment: Mapping[str, str]) -> GitHub:
        """Open the repository whose pipeline this runs in.

        Raises:
            AegisError: The variables that a job has are not set.
        """
        names = ("GITHUB_REPOSITORY", "GITHUB_TOKEN")
        missing = [name for name in names if not environment.get(name)]
        if missing:
            raise AegisError(
                what="GitHub cannot be told",
                why=f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set",
                next="run it in a GitHub Actions job, with GITHUB_TOKEN: ${{ github.token }} "
                "in the step's env",
            )
        api = environment.get("GITHUB_API_URL") or "https://api.github.com"
        return cls(environment[names[0]], environment[names[1]], api)

    def comment(self, number: int, mark: str, body: str, *, part: str = "") -> Left:
        """Leave a comment on a pull request or an issue, in place of the one left before.

        Args:
            number: The pull request's or the issue's number.
            mark: What the comment is found again by; it stands in its text.
            body: Its text, Markdown.
            part: Which part of the comment it is, whose other parts stay; empty for all of it.

        Raises:
            AegisError: GitHub refuses, or does not answer.
        """
        text = body if mark in body else f"{mark}\n{body}"
        if part:
            text = with_part(f"{mark}\n", part, body)
        for found in self._every(f"issues/{number}/comments"):
            if _is_ours(found, mark):
                if part:
                    text = with_part(str(found["body"]), part, body)
                if found["body"] == text:
                    return Left("unchanged", found["html_url"])
                edited = self._send("PATCH", f"issues/comments/{found['id']}", {"body": text})
                return Left("edited", edited["html_url"])
        made = self._send("POST", f"issues/{number}/comments", {"body": text})
        return Left("created", made["html_url"])

    def issue(self, title: str, mark: str, body: str) -> Left:
        """Open an issue, or edit the open one with the same mark.

        Raises:
            AegisError: GitHub refuses, or does not answer.
        """
        text = f"{mark}\n{body}"
        found = self._open_issue(mark)
        if found is None:
            made = self._send("POST", "issues", {"title": title, "body": text})
            return Left("created", made["html_url"])
        if (found["title"], found["body"]) == (title, text):
            return Left("unchanged", found["html_url"])
        edited = self._send("PATCH", f"issues/{found['number']}", {"title": title, "body": text})
        return Left("edited", edited["html_url"])

    def close(self, mark: str, why: str) -> Left:
        """Close the open issue with a mark, if there is one.

        Raises:
            AegisError: GitHub refuses, or does not answer.
        """
        found = self._open_issue(mark)
        if found is None:
            return Left("unchanged")
        number = found["number"]
        self._send("POST", f"issues/{number}/comments", {"body": why})
        closed = self._send(
            "PATCH", f"issues/{number}", {"state": "closed", "state_reason": "completed"}
        )
        return Left("closed", closed["html_url"])

    def _open_issue(self, mark: str) -> dict[str, Any] | None:
        for found in self._every("issues", {"state": "open"}):
            # A pull request is an issue too, to the API.
            if "pull_request" not in found and _is_ours(found, mark):
                return found
        return None

    def _moved(self, answer: httpx.Response) -> httpx.URL | None:
        """Where a renamed repository is asked for; None when the answer sends nowhere.

        Elsewhere than at the same host the token is not sent
        (https://docs.github.com/rest/using-the-rest-api/best-practices-for-using-the-rest-api).
        """
        if not answer.has_redirect_location:
            return None
        place = answer.url.join(answer.headers["location"])
        same = (place.scheme, place.host, place.port) == (
            answer.url.scheme,
            answer.url.host,
            answer.url.port,
        )
        return place if same else None

    def _every(self, path: str, query: Mapping[str, str] | None = None) -> Iterator[dict[str, Any]]:
        for page in range(1, _PAGES + 1):
            rows = self._send(
                "GET", path, None, {**(query or {}), "per_page": str(_PAGE), "page": str(page)}
            )
            yield from rows
            if len(rows) < _PAGE:
                return

    def _send(
        self,
        method: str,
        path: str,
        content: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Any:  # noqa: ANN401 - any JSON value
        import httpx

        try:
            answer = self._client.request(method, path, json=content, params=query)
            for _ in range(_MOVES):
                place = self._moved(answer)
                if place is None:
                    break
                # Whatever is asked for is to be asked for there, in the same way.
                again = None if place.query else query
                answer = self._client.request(method, place, json=content, params=again)
        except httpx.HTTPError as error:
            raise AegisError(
                what="GitHub does not answer",
                why=f"{type(error).__name__}: {error}",
                state="nothing was left there",
                next="run the job again",
            ) from error
        if answer.status_code >= _FIRST_ERROR or answer.is_redirect:
            raise AegisError(
                what=f"GitHub refused {method} {path}",
                why=f"{answer.status_code}: {_reason(answer)}",
                state="nothing was left there",
                next=_NEXT.get(answer.status_code, "run the job again"),
            )
        return answer.json()


def with_part(comment: str, part: str, body: str) -> str:
    """Return a comment's text with a part of it replaced, or put at its end.

    Args:
        comment: The text.
        part: The part's name.
        body: What it says now, Markdown. Where both would be too long for a comment, one line
            says that instead.
    """
    begin, end = _PART.format(part), _PART.format(f"{part} ends")
    before, found, rest = comment.partition(begin)
    after = rest.partition(end)[2] if found else ""
    before = before if found else f"{comment.rstrip()}\n\n"
    whole = f"{before}{begin}\n{body.strip()}\n{end}{after}"
    if len(whole) <= COMMENT_LIMIT:
        return whole
    short = f"The {part} is too long for this comment: the summary of its job has it."
    return f"{before}{begin}\n{short}\n{end}{after}"


def _is_ours(found: Mapping[str, Any], mark: str) -> bool:
    """Whether a pipeline left it: a stranger who copies the mark could rewrite it afterwards."""
    trusted = found.get("author_association") in _TRUSTED
    is_bot = (found.get("user") or {}).get("type") == "Bot"
    return mark in str(found.get("body") or "") and (trusted or is_bot)


def _reason(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        return answer.text[:200]
