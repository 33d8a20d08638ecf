import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
from hub_server import Hub, serve
from huggingface_hub import constants

from auricle.engines import weights
from auricle.engines.model_folder import folder_problem
from auricle.errors import InvalidOption, ModelNotFound
from samples import NANO_HF

NANO = weights.EMBEDDED_MODELS["nano"]
NAMES = ("model.bin", "config.json", "tokenizer.json", "vocabulary.json", "preprocessor_config.json")
HF_NAMES = ("model.safetensors", "config.json", "generation_config.json", "tokenizer.json")
HF_FILES = {name: (NANO_HF / name).read_bytes() for name in HF_NAMES}
TINY = weights.ALIASES["tiny"]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def nano_files() -> dict[str, bytes]:
    return {name: (NANO / name).read_bytes() for name in NAMES}


@pytest.fixture
def hub(nano_files, monkeypatch) -> Iterator[Hub]:
    server = serve()
    server.hub.repos = {
        TINY.repo: {**nano_files, "README.md": b"read me", "pytorch_model.bin": b"not wanted"},
        "someone/fine.tuned": dict(nano_files),
        "openai/whisper-tiny": {
            **HF_FILES,
            "README.md": b"read me",
            "pytorch_model.bin": b"not wanted",
            "flax_model.msgpack": b"not wanted",
            "optimizer.pt": b"not wanted",
            "model.fp32-00001-of-00002.safetensors": b"not wanted",
            "vocab.json": b"not wanted where there is a tokenizer.json",
        },
    }
    server.hub.commits = {
        TINY.repo: str(TINY.revision),
        "someone/fine.tuned": COMMIT,
        "openai/whisper-tiny": COMMIT,
    }
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(constants, "ENDPOINT", server.hub.url)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    )
    # Only whole chunks reach the disk, and they are larger than the model otherwise.
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1_000_000)
    # The library waits a second before it takes up a broken connection.
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    huggingface_hub.close_session()
    yield server.hub
    huggingface_hub.close_session()
    server.shutdown()
    server.server_close()


def copy_of_nano(folder: Path) -> Path:
    return Path(shutil.copytree(NANO, folder))


def test_the_embedded_model_needs_no_download(tmp_path):
    model = weights.resolve_model("nano", data_dir=tmp_path, offline=True)
    assert (model.name, model.path, model.source) == ("nano", NANO, "embedded")
    assert model.size_bytes == sum((NANO / name).stat().st_size for name in NAMES)
    assert folder_problem(NANO) is None


def test_every_alias_is_pinned_to_a_commit():
    assert {"tiny", "large", "turbo", "distil-large-v3.5", "medium.en"} <= set(weights.ALIASES)
    assert all(re.fullmatch("[0-9a-f]{40}", str(model.revision)) for model in weights.ALIASES.values())
    pins = {model.revision for model in weights.ALIASES.values()}
    assert len(pins) == len({model.repo for model in weights.ALIASES.values()})


def test_a_model_is_downloaded_once_and_then_found_without_the_hub(hub, tmp_path, nano_files):
    model = weights.resolve_model("tiny", data_dir=tmp_path)
    assert (model.name, model.source, model.revision) == ("tiny", TINY.repo, TINY.revision)
    assert {path.name for path in model.path.iterdir()} == {*NAMES, "auricle.json"}
    assert all((model.path / name).read_bytes() == nano_files[name] for name in NAMES)
    asked = len(hub.requests)
    assert weights.resolve_model("tiny", data_dir=tmp_path, offline=True) == model
    assert weights.pull_model("tiny", data_dir=tmp_path) == model
    assert len(hub.requests) == asked


def test_only_files_that_are_needed_are_fetched(hub, tmp_path):
    weights.pull_model("tiny", data_dir=tmp_path)
    assert not [request for request in hub.requests if "README" in request or "pytorch" in request]


def test_progress_grows_from_nothing_to_all_bytes(hub, tmp_path):
    seen: list[tuple[int, int]] = []
    weights.pull_model("tiny", data_dir=tmp_path, progress=lambda done, total: seen.append((done, total)))
    total = sum((NANO / name).stat().st_size for name in NAMES)
    done = [entry[0] for entry in seen]
    assert {entry[1] for entry in seen} == {total}
    assert done == sorted(done)
    assert done[-1] == total
    assert len(set(done)) > 1


def test_a_connection_that_breaks_is_taken_up_again(hub, tmp_path, nano_files):
    hub.break_after = [5_000_000]
    model = weights.pull_model("tiny", data_dir=tmp_path)
    assert (model.path / "model.bin").read_bytes() == nano_files["model.bin"]
    assert hub.ranges == ["", "bytes=5000000-"]


def test_a_half_download_is_not_a_model_and_the_next_try_fetches_only_what_is_missing(hub, tmp_path, nano_files):
    hub.break_after, hub.broken = [5_000_000], True
    with pytest.raises(ModelNotFound, match="the hub answered 403"):
        weights.pull_model("tiny", data_dir=tmp_path)
    assert not weights.is_downloaded("tiny", data_dir=tmp_path)
    assert [model.name for model in weights.list_models(tmp_path)] == ["nano"]
    hub.broken, hub.requests = False, []
    model = weights.pull_model("tiny", data_dir=tmp_path)
    assert (model.path / "model.bin").read_bytes() == nano_files["model.bin"]
    assert fetched(hub) == ["model.bin"]
    assert not list((tmp_path / "models" / ".partial").iterdir())


def test_a_model_that_lost_bytes_is_fetched_again(hub, tmp_path, nano_files):
    model = weights.pull_model("tiny", data_dir=tmp_path)
    (model.path / "model.bin").write_bytes(b"short")
    assert not weights.is_downloaded("tiny", data_dir=tmp_path)
    weights.resolve_model("tiny", data_dir=tmp_path)
    assert (model.path / "model.bin").read_bytes() == nano_files["model.bin"]


def test_a_repository_without_a_revision_follows_its_main_branch_when_pulled(hub, tmp_path):
    first = weights.resolve_model("someone/fine.tuned", data_dir=tmp_path)
    assert first.revision == COMMIT
    hub.commits["someone/fine.tuned"] = "f" * 40
    hub.repos["someone/fine.tuned"]["config.json"] += b"\n"
    assert weights.resolve_model("someone/fine.tuned", data_dir=tmp_path) == first
    second = weights.pull_model("someone/fine.tuned", data_dir=tmp_path)
    assert (second.path, second.revision) == (first.path, "f" * 40)
    assert (second.path / "config.json").read_bytes() == hub.repos["someone/fine.tuned"]["config.json"]


def test_a_repository_can_be_named_with_its_revision(hub, tmp_path):
    model = weights.resolve_model(f"someone/fine.tuned@{COMMIT}", data_dir=tmp_path)
    assert model.path.name == f"someone--fine.tuned@{COMMIT}"
    assert [entry.name for entry in weights.list_models(tmp_path)] == ["nano", f"someone/fine.tuned@{COMMIT}"]


def test_a_revision_that_does_not_exist_is_said_so(hub, tmp_path):
    with pytest.raises(ModelNotFound, match="no revision 'v9'"):
        weights.pull_model("someone/fine.tuned@v9", data_dir=tmp_path)


def test_a_repository_that_does_not_exist_is_said_so(hub, tmp_path):
    with pytest.raises(ModelNotFound, match="the hub has no model no/body"):
        weights.pull_model("no/body", data_dir=tmp_path)


def fetched(hub: Hub) -> list[str]:
    return [
        request.rpartition("/")[2] for request in hub.requests if request.startswith("GET") and "resolve" in request
    ]


def test_safetensors_are_downloaded_with_what_belongs_to_them_and_nothing_else(hub, tmp_path):
    model = weights.pull_model("openai/whisper-tiny", data_dir=tmp_path)
    assert (model.name, model.source, model.revision) == ("openai/whisper-tiny", "openai/whisper-tiny", COMMIT)
    assert {path.name for path in model.path.iterdir()} == {*HF_NAMES, "auricle.json"}
    assert all((model.path / name).read_bytes() == HF_FILES[name] for name in HF_NAMES)
    assert folder_problem(model.path) is None
    assert sorted(fetched(hub)) == sorted(HF_NAMES)
    assert weights.resolve_model("openai/whisper-tiny", data_dir=tmp_path, offline=True) == model
    assert weights.remove_model("openai/whisper-tiny", data_dir=tmp_path) > 0


def test_weights_that_are_shared_out_come_with_their_index(hub, tmp_path):
    files = hub.repos["openai/whisper-tiny"]
    del files["model.safetensors"]
    shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    places = {"one": shards[0], "two": shards[1]}
    index = {"model.safetensors.index.json": json.dumps({"weight_map": places}).encode()}
    hub.repos["openai/whisper-tiny"] = files | dict.fromkeys(shards, b"weights") | index
    model = weights.pull_model("openai/whisper-tiny", data_dir=tmp_path)
    assert {path.name for path in model.path.iterdir()} >= {*shards, "model.safetensors.index.json"}
    assert not list(model.path.glob("*fp32*"))
    for name in shards:
        del hub.repos["openai/whisper-tiny"][name]
    with pytest.raises(ModelNotFound, match=r"no files that model\.safetensors\.index\.json names"):
        weights.pull_model("openai/whisper-tiny", data_dir=tmp_path / "other")


def test_where_a_repository_has_both_forms_ctranslate2_is_taken(hub, tmp_path, nano_files):
    hub.repos["someone/fine.tuned"] = {**HF_FILES, **nano_files}
    model = weights.pull_model("someone/fine.tuned", data_dir=tmp_path)
    assert {path.name for path in model.path.iterdir()} == {*NAMES, "auricle.json"}


@pytest.mark.parametrize("config", [b'{"model_type": "wav2vec2"}', b"{}", b"[]", b"no json", b"[" * 100_000])
def test_a_model_that_is_no_whisper_is_refused_before_its_weights_are_fetched(hub, tmp_path, config):
    hub.repos["openai/whisper-tiny"]["config.json"] = config
    with pytest.raises(ModelNotFound, match="openai/whisper-tiny is no Whisper model"):
        weights.pull_model("openai/whisper-tiny", data_dir=tmp_path)
    assert fetched(hub) == ["config.json"]
    assert not list((tmp_path / "models" / ".partial").iterdir())


def test_a_repository_of_another_format_is_refused_before_anything_is_fetched(hub, tmp_path):
    del hub.repos["openai/whisper-tiny"]["model.safetensors"]
    with pytest.raises(ModelNotFound, match=r"it has no model\.bin or model\.safetensors.*ct2-transformers-converter"):
        weights.pull_model("openai/whisper-tiny", data_dir=tmp_path)
    assert not fetched(hub)


def test_a_repository_without_a_tokenizer_is_refused(hub, tmp_path):
    del hub.repos["someone/fine.tuned"]["tokenizer.json"]
    with pytest.raises(ModelNotFound, match=r"it has no tokenizer\.json"):
        weights.pull_model("someone/fine.tuned", data_dir=tmp_path)


@pytest.mark.parametrize("offline", [True, False])
def test_out_of_reach_is_one_error_with_the_folder_and_two_ways_out(hub, tmp_path, monkeypatch, offline):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ModelNotFound) as caught:
        weights.resolve_model("tiny", data_dir=tmp_path, offline=offline)
    text = caught.value.message
    assert "'tiny'" in text
    assert str(tmp_path / "models" / TINY.folder_name) in text
    assert "auricle models pull tiny" in text
    assert "--model /path/to/folder" in text
    assert ("offline mode is on" in text) == offline
    assert caught.value.param == "model"


def test_a_page_that_is_no_hub_is_out_of_reach(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", hub.url + "/login")
    with pytest.raises(ModelNotFound, match="cannot be downloaded"):
        weights.pull_model("tiny", data_dir=tmp_path)


def test_the_environment_of_the_hub_library_holds(hub, tmp_path):
    code = (
        "import sys; from pathlib import Path; from auricle.engines.weights import resolve_model;"
        "print(resolve_model('tiny', data_dir=Path(sys.argv[1])).revision)"
    )
    env = os.environ | {"HF_ENDPOINT": hub.url, "NO_PROXY": "127.0.0.1"}
    command = [sys.executable, "-c", code, str(tmp_path)]
    offline = subprocess.run(
        command, env=env | {"HF_HUB_OFFLINE": "1"}, capture_output=True, text=True, check=False, timeout=60
    )
    assert offline.returncode != 0
    assert "ModelNotFound" in offline.stderr
    assert not hub.requests
    online = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert online.stdout.strip() == TINY.revision
    assert online.stderr == ""


def test_a_folder_copied_from_another_machine_is_found(tmp_path):
    copy_of_nano(tmp_path / "models" / TINY.folder_name)
    model = weights.resolve_model("tiny", data_dir=tmp_path, offline=True)
    assert model.source == TINY.repo
    assert [entry.name for entry in weights.list_models(tmp_path)] == ["nano", "tiny"]


def test_the_aliases_of_one_model_share_its_folder(tmp_path):
    copy_of_nano(tmp_path / "models" / weights.ALIASES["turbo"].folder_name)
    assert weights.is_downloaded("large-v3-turbo", data_dir=tmp_path)
    assert [entry.name for entry in weights.list_models(tmp_path)] == ["nano", "large-v3-turbo"]


def test_a_local_folder_is_a_model_where_that_is_allowed(tmp_path):
    folder = copy_of_nano(tmp_path / "mine")
    model = weights.resolve_model(str(folder), data_dir=tmp_path, allow_local=True)
    assert (model.path, model.source) == (folder, "local")


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda folder: (folder / "tokenizer.json").unlink(), r"it has no tokenizer\.json"),
        (lambda folder: (folder / "vocabulary.json").unlink(), r"it has no vocabulary\.json or vocabulary\.txt"),
        (lambda folder: (folder / "model.bin").write_bytes(b""), r"its model\.bin is empty"),
        (shutil.rmtree, "there is no such folder"),
    ],
)
def test_a_local_folder_that_is_no_model_is_refused_with_what_is_missing(tmp_path, spoil, problem):
    folder = copy_of_nano(tmp_path / "mine")
    spoil(folder)
    with pytest.raises(ModelNotFound, match=problem):
        weights.resolve_model(str(folder), data_dir=tmp_path, allow_local=True)


def test_a_name_from_the_network_never_reaches_a_local_folder(tmp_path, monkeypatch):
    folder = copy_of_nano(tmp_path / "org" / "repo")
    monkeypatch.chdir(tmp_path)
    for name in (str(folder), "./org/repo", "org/repo", "~/x", "file:///etc"):
        with pytest.raises(ModelNotFound):
            weights.resolve_model(name, data_dir=tmp_path / "data", offline=True)
    assert weights.resolve_model("org/repo", data_dir=tmp_path, offline=True, allow_local=True).path == folder


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "..",
        "a/../b",
        "a/b@../../c",
        "a/b@/etc",
        "a--b/c",
        "a/b/c",
        "a/b\0",
        "a/b@\0",
        "a\\b",
        "",
        "/",
        "@",
        "a/b@",
        "é/b",
        "a" * 100_000,
        "." + "a" * 100_000,
        "a/" + "b" * 200,
    ],
)
@pytest.mark.parametrize("allow_local", [True, False])
def test_a_hostile_name_is_no_model(tmp_path, name, allow_local):
    with pytest.raises(ModelNotFound) as caught:
        weights.resolve_model(name, data_dir=tmp_path, offline=True, allow_local=allow_local)
    if not allow_local:
        assert len(caught.value.message) < 1000
    assert not list(tmp_path.iterdir())


def test_a_misspelt_name_gets_suggestions_and_all_names(tmp_path):
    with pytest.raises(ModelNotFound, match="'large-v3-trubo'; did you mean large-v3-turbo") as caught:
        weights.resolve_model("large-v3-trubo", data_dir=tmp_path)
    assert all(name in caught.value.message for name in weights.model_names())


def test_a_removed_model_is_gone_with_its_unfinished_rest(tmp_path):
    folder = copy_of_nano(tmp_path / "models" / TINY.folder_name)
    rest = copy_of_nano(tmp_path / "models" / ".partial" / TINY.folder_name)
    size = weights.list_models(tmp_path)[0].size_bytes
    assert weights.remove_model("tiny", data_dir=tmp_path) == 2 * size
    assert not folder.exists()
    assert not rest.exists()
    with pytest.raises(ModelNotFound, match="is not downloaded"):
        weights.remove_model("tiny", data_dir=tmp_path)


def test_the_embedded_model_cannot_be_removed(tmp_path):
    with pytest.raises(InvalidOption):
        weights.remove_model("nano", data_dir=tmp_path)
    assert folder_problem(NANO) is None


def test_a_data_folder_that_cannot_be_written_is_one_clear_error(hub, tmp_path):
    (tmp_path / "models").write_text("a file where the folder should be")
    with pytest.raises(ModelNotFound, match="cannot be downloaded"):
        weights.pull_model("tiny", data_dir=tmp_path)


@pytest.mark.parametrize(
    ("device", "free_gib", "name"),
    [
        ("cuda", 8, "large-v3-turbo"),
        ("cuda", 6, "large-v3-turbo"),
        ("cuda", 5, "base"),
        ("cuda", None, "base"),
        ("cpu", 64, "base"),
    ],
)
def test_the_default_model_is_turbo_on_a_gpu_with_room_and_base_elsewhere(device, free_gib, name):
    assert weights.default_model(device, None if free_gib is None else free_gib * 1024**3) == name
