"""Thousands of requests made from the API's own description, valid ones and broken ones, sent to a real server."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from live_server import LiveServer, live_server, wait_until

KEY = "ak_" + "fuzzed" * 8
EXAMPLES = os.environ.get("AURICLE_FUZZ_EXAMPLES", "12")
"""Random requests for each route, beside those at the bounds of each field."""
ALWAYS = (
    "errors_are_known",
    "allowed_methods_are_named",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
)
"""Not ``positive_data_acceptance``: no schema can say which bytes are audio."""
PUBLIC = {"/health", "/health/live", "/health/ready"}


def fuzz(server: LiveServer, *flags: str, phases: str, checks: tuple[str, ...]) -> None:
    """Send what fits the schema and what does not, the same on every run; fails with the requests that show a fault."""
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json", "--no-color"]
    command += ["--generation-deterministic", "--max-examples", EXAMPLES]
    command += ["--phases", phases, "--suppress-health-check", "all", "--warnings", "off"]
    command += ["--request-timeout", "60", "--continue-on-failure", "--checks", ",".join(checks), *flags]
    folder = Path(__file__).parent
    environment = os.environ | {"SCHEMATHESIS_HOOKS": "schema_fuzz_hooks", "PYTHONPATH": str(folder)}
    run = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=server.folder, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "Tested: 0" not in run.stdout


def check_goes_on(server: LiveServer) -> None:
    wait_until(lambda: server.uploads() == [])
    assert server.process.poll() is None
    assert "Traceback" not in (server.folder / "server.log").read_text()


@pytest.mark.timeout(600)
def test_no_request_made_from_the_schema_makes_the_server_fail(tmp_path: Path) -> None:
    # Offline, so that the routes that fetch models fetch none.
    with live_server(tmp_path, engine="fake", job_tries=1, max_upload_mb=2, max_audio_s=120) as server:
        fuzz(server, phases="examples,coverage,fuzzing", checks=ALWAYS)
        check_goes_on(server)


@pytest.mark.timeout(600)
def test_with_keys_none_gets_in_without_one(tmp_path: Path) -> None:
    with live_server(tmp_path, engine="fake", job_tries=1, max_upload_mb=2, max_audio_s=120, admin_key=KEY) as server:
        # Random requests are sent above; here those at the bounds of each field show that no route forgets the key.
        checks = (*ALWAYS, "ignored_auth")
        fuzz(server, "--header", f"Authorization: Bearer {KEY}", phases="examples,coverage", checks=checks)
        check_goes_on(server)


def test_every_route_but_the_public_ones_asks_for_a_key(tmp_path: Path) -> None:
    with live_server(tmp_path, engine="fake", admin_key=KEY) as server, httpx.Client(base_url=server.url) as client:
        for path, operations in client.get("/openapi.json").json()["paths"].items():
            for method in operations:
                for headers in ({}, {"authorization": "Bearer wrong"}, {"x-api-key": KEY[:-1]}):
                    answer = client.request(method, path, headers=headers)
                    if path in PUBLIC:
                        assert answer.status_code in {200, 503}
                    elif path == "/v1/transcribe":
                        assert answer.status_code == 403  # as that API has it
                    else:
                        assert answer.status_code == 401
                        assert answer.headers["www-authenticate"] == "Bearer"
