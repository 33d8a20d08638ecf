"""What tests of ``/v1/jobs`` ask and expect."""

from typing import Any

import httpx
from live_server import DIGITS, wait_until

NOBODY = "0199a1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1b"
"""No job."""


def upload(api: httpx.Client, audio: Any = DIGITS, headers: Any = None, **data: Any) -> dict:
    answer = api.post("/v1/jobs", files={"file": (audio.name, audio.read_bytes())}, data=data, headers=headers)
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"/v1/jobs/{answer.json()['id']}"
    return answer.json()


def ended(api: httpx.Client, job_id: str) -> dict:
    def job() -> dict:
        return api.get(f"/v1/jobs/{job_id}").json()

    wait_until(lambda: job()["status"] not in {"queued", "running"})
    return job()


def refused(answer: httpx.Response, status: int, code: str | None, param: str | None = None) -> None:
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert (error["code"], error["param"]) == (code, param), error
