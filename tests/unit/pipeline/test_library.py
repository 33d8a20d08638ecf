from pathlib import Path

import pytest

from auricle.errors import ModelNotFound
from auricle.pipeline.library import Library, Origin
from samples import NANO


@pytest.mark.parametrize(
    ("name", "settings", "setting"),
    [
        ("small", {}, None),
        ("small", {"allow_downloads": False}, "AURICLE_ALLOW_DOWNLOADS"),
        ("org/repo", {}, "AURICLE_ALLOW_ANY_REPO"),
        ("org/repo@main", {}, "AURICLE_ALLOW_ANY_REPO"),
        ("org/repo", {"allow_any_repo": True}, None),
    ],
)
def test_clients_have_downloaded_what_the_settings_allow(
    tmp_path: Path, name: str, settings: dict[str, bool], setting: str | None
) -> None:
    library = Library(data_dir=tmp_path, **settings)
    if setting is None:
        assert library.find(name, Origin.CLIENT) is None
    else:
        with pytest.raises(ModelNotFound, match=setting):
            library.find(name, Origin.CLIENT)
    assert library.find(name, Origin.OPERATOR) is None
    assert library.find(name, Origin.SETTINGS) is None


def test_what_is_on_disk_may_be_used_whoever_asks(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "org--repo"
    folder.parent.mkdir()
    folder.symlink_to(NANO)
    found = Library(data_dir=tmp_path, allow_downloads=False).find("org/repo", Origin.CLIENT)
    assert found is not None
    assert (found.name, found.is_local) == ("org/repo", False)
    assert found.size_bytes > 1 << 20


def test_only_settings_mean_local_folders_and_clients_learn_the_last_part_only(tmp_path: Path) -> None:
    library = Library(data_dir=tmp_path)
    found = library.find(str(NANO), Origin.SETTINGS)
    assert found is not None
    assert (found.name, found.path, found.is_local) == (NANO.name, NANO.resolve(), True)
    for origin in (Origin.CLIENT, Origin.OPERATOR):
        with pytest.raises(ModelNotFound):
            library.find(str(NANO), origin)


def test_offline_says_so_whoever_asks(tmp_path: Path) -> None:
    library = Library(data_dir=tmp_path, offline=True)
    assert library.find("org/repo", Origin.CLIENT) is None
    with pytest.raises(ModelNotFound, match="offline"):
        library.pull("org/repo", lambda done, total: None)
