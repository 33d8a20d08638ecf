"""Who may manage models, and what a download that takes its time is answered with."""

from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from scripted_runtime import ScriptedModels, scripted_app

from auricle.pipeline.models import ModelSummary


class Pulling(ScriptedModels):
    """A model whose download is on its way."""

    async def pull(self, name: str, *, wait: bool) -> bool:
        return wait

    async def summary(self, name: str) -> ModelSummary:
        flags: Any = dict.fromkeys(("is_default", "is_downloaded", "is_loaded", "is_pinned"), False)
        what: Any = {"id": name, "owned_by": "auricle", "created": 0, "requests": 0, "memory_bytes": 0}
        return ModelSummary(**what, **flags, engine=None, compute_type=None)


async def pull(folder: Path, path: str, client: str = "127.0.0.1", **settings: Any) -> httpx.Response:
    app = scripted_app(folder, models=cast("Any", Pulling()), **settings)
    transport = httpx.ASGITransport(app, client=(client, 1))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://test") as asking,
    ):
        return await asking.post(f"/v1/models/{path}")


async def test_a_download_on_its_way_is_202_with_retry_after(tmp_path: Path):
    answer = await pull(tmp_path, "org/repo@main")
    assert (answer.status_code, answer.headers["retry-after"]) == (202, "2")
    assert (answer.json()["id"], answer.json()["downloaded"]) == ("org/repo@main", False)


async def test_who_waits_for_a_download_gets_200(tmp_path: Path):
    answer = await pull(tmp_path, "small?wait=true")
    assert (answer.status_code, "retry-after" in answer.headers) == (200, False)


async def test_routes_are_counted_under_their_whole_paths(tmp_path: Path):
    app = scripted_app(tmp_path, models=cast("Any", Pulling()))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as asking,
    ):
        await asking.post("/v1/models/small")
        counted = (await asking.get("/metrics")).text
    assert 'auricle_http_requests_total{route="/v1/models/{model_id:path}",status="202"} 1.0' in counted


@pytest.mark.parametrize("client", ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"])
async def test_this_machine_manages_models(tmp_path: Path, client: str):
    assert (await pull(tmp_path, "small", client)).status_code == 202


@pytest.mark.parametrize("client", ["203.0.113.7", "192.168.0.2", "::ffff:203.0.113.7", "2001:db8::1", "unknown"])
async def test_other_machines_manage_models_only_where_the_settings_say_so(tmp_path: Path, client: str):
    assert (await pull(tmp_path, "small", client)).status_code == 403
    assert (await pull(tmp_path, "small", client, allow_model_admin=True)).status_code == 202
