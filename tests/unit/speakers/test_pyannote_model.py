"""How the pipeline of pyannote.audio is found and fetched, with a hub on this machine."""

from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants

from auricle.errors import ModelNotFound
from auricle.speakers.options import PYANNOTE_MODEL, DiarizerOptions
from auricle.speakers.pyannote_model import find_model
from unit.engines.hub_server import Endpoint, Server, serve

FILES = {"config.yaml": b"pipeline: {}", "segmentation/pytorch_model.bin": b"weights", "plda/plda.npz": b"numbers"}
FOLDER = "pyannote--speaker-diarization-community-1"


class Gated(Endpoint):
    """Tells what there is, and gives nothing away."""

    def answer_file(self, repo: str, commit: str, name: str) -> None:
        self.refuse(403 if self.headers.get("Authorization") else 401, "GatedRepo")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    server = serve()
    server.hub.repos = {PYANNOTE_MODEL: dict(FILES)}
    server.hub.commits = {PYANNOTE_MODEL: "0123456789abcdef0123456789abcdef01234567"}
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(constants, "ENDPOINT", server.hub.url)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    huggingface_hub.close_session()
    yield server
    huggingface_hub.close_session()
    server.shutdown()
    server.server_close()


def test_the_pipeline_is_fetched_once_and_whole(hub: Server, tmp_path: Path) -> None:
    options = DiarizerOptions(data_dir=tmp_path)
    folder = find_model(options)
    assert folder == tmp_path / "speakers" / FOLDER
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert found == FILES
    asked = len(hub.hub.requests)
    assert find_model(options) == folder
    assert len(hub.hub.requests) == asked


def test_without_a_token_a_gated_pipeline_is_told_as_clients_know_it(hub: Server, tmp_path: Path) -> None:
    hub.RequestHandlerClass = Gated
    with pytest.raises(ModelNotFound, match=r"^Missing Hugging Face Token: .* accept its terms at .* and set HF_TOKEN"):
        find_model(DiarizerOptions(data_dir=tmp_path))
    assert not (tmp_path / "speakers" / FOLDER).exists()


def test_a_token_whose_account_has_not_accepted_the_terms_is_told(
    hub: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_of_somebody")
    hub.RequestHandlerClass = Gated
    with pytest.raises(ModelNotFound, match="HF_TOKEN does not open it: accept its terms at"):
        find_model(DiarizerOptions(data_dir=tmp_path))


def test_a_repository_that_there_is_not_is_told(hub: Server, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="the hub has no model some/other"):
        find_model(DiarizerOptions(data_dir=tmp_path, pyannote_model="some/other"))


def test_a_repository_without_a_pipeline_is_told(hub: Server, tmp_path: Path) -> None:
    del hub.hub.repos[PYANNOTE_MODEL]["config.yaml"]
    with pytest.raises(ModelNotFound, match=r"it has no config\.yaml"):
        find_model(DiarizerOptions(data_dir=tmp_path))


def test_a_name_that_is_none_is_told(hub: Server, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="cannot be downloaded"):
        find_model(DiarizerOptions(data_dir=tmp_path, pyannote_model="no such/name/at all"))


def test_offline_the_hub_is_not_asked(hub: Server, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="AURICLE_OFFLINE is set"):
        find_model(DiarizerOptions(data_dir=tmp_path, offline=True))
    assert not hub.hub.requests


def test_a_folder_is_used_as_it_is(tmp_path: Path) -> None:
    assert find_model(DiarizerOptions(pyannote_model=str(tmp_path), offline=True)) == tmp_path
