"""The public surface of the HTTP API; a change here is a change for every client."""

import re
from pathlib import Path
from typing import Any

import pytest
from scripted_runtime import calling, scripted_app
from syrupy.assertion import SnapshotAssertion


@pytest.fixture
def schema(tmp_path: Path) -> dict[str, Any]:
    return scripted_app(tmp_path).openapi()


def test_routes_and_their_answers_are_as_recorded(schema: dict[str, Any], snapshot: SnapshotAssertion) -> None:
    routes = {
        f"{method.upper()} {path}": sorted(operation["responses"])
        for path, operations in schema["paths"].items()
        for method, operation in operations.items()
    }
    assert routes == snapshot


@pytest.mark.parametrize("route", ["transcriptions", "translations"])
def test_fields_of_the_form_are_as_recorded(schema: dict[str, Any], snapshot: SnapshotAssertion, route: str) -> None:
    body = schema["paths"][f"/v1/audio/{route}"]["post"]["requestBody"]
    form = body["content"]["multipart/form-data"]["schema"]
    assert form["required"] == ["file"]
    assert {name: field.get("enum", field.get("default")) for name, field in form["properties"].items()} == snapshot


def test_every_operation_has_a_name_of_its_own_and_a_tag(schema: dict[str, Any]) -> None:
    operations = [operation for one in schema["paths"].values() for operation in one.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names)
    assert all(operation["tags"] and operation["summary"] for operation in operations)


async def test_the_page_that_documents_the_api_needs_no_other_host(tmp_path: Path) -> None:
    async with calling(scripted_app(tmp_path)) as client:
        page = await client.get("/docs")
        linked = re.findall(r'(?:src|href)="([^"]+)"', page.text)
        found = [await client.get(link) for link in linked]
        schema = await client.get("/openapi.json")
    assert page.headers["content-type"].startswith("text/html")
    assert {Path(link).suffix for link in linked} == {".css", ".js", ".png"}
    assert not re.search(r"https?://", page.text)
    assert [answer.status_code for answer in found] == [200, 200, 200]
    assert schema.json()["info"]["title"] == "Auricle"
