"""The files of deploy/ against the product: names, ports, paths, times and metrics that they speak of."""

import fnmatch
import json
import plistlib
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from repo_files import REFERENCE, ROOT
from test_source_rules import FOREIGN

from auricle.config import Settings
from auricle.server.app import create_app
from job_input import parse_input

DEPLOY = ROOT / "deploy"
GUIDES = [ROOT / "docs" / "how-to" / f"{name}.md" for name in ("run-as-a-service", "run-in-docker", "run-on-runpod")]
DOCKERFILE = (DEPLOY / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
COMPOSE = {name: yaml.safe_load((DEPLOY / name).read_text("utf-8")) for name in ("compose.yaml", "compose.full.yaml")}
CUDA = yaml.safe_load((DEPLOY / "compose.cuda.yaml").read_text("utf-8"))
FLY = tomllib.loads((DEPLOY / "fly.toml").read_text("utf-8"))
UNIT = (DEPLOY / "systemd" / "auricle.service").read_text("utf-8")
PLIST = plistlib.loads((DEPLOY / "launchd" / "org.auricle.server.plist").read_bytes())
PM2 = (DEPLOY / "pm2" / "ecosystem.config.cjs").read_text("utf-8")
DASHBOARDS = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))
SCRIPTS = sorted(DEPLOY.rglob("*.sh"))
TEXTS = sorted(path for path in DEPLOY.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
SHUTDOWN_S = Settings.model_fields["shutdown_timeout_s"].default
PORT = Settings.model_fields["port"].default


def identify(path: Path) -> str:
    return str(path.relative_to(ROOT))


def instructions(name: str) -> list[str]:
    return re.findall(rf"^{name} (.+)$", DOCKERFILE, re.MULTILINE)


def stages() -> dict[str, str]:
    """Stage -> its instructions, and those of the stages it is made from."""
    own: dict[str, str] = {}
    parts = re.split(r"^FROM (\S+) AS (\S+)$", DOCKERFILE, flags=re.MULTILINE)[1:]
    for parent, name, body in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        own[name] = own.get(parent, "") + body
    return own


@pytest.mark.parametrize("path", TEXTS, ids=identify)
def test_every_setting_that_is_named_exists(path: Path) -> None:
    named = set(re.findall(r"\bAURICLE_([A-Z_]+[A-Z])\b", path.read_text("utf-8")))
    assert named - {name.upper() for name in Settings.model_fields} <= {"NAME"}


@pytest.mark.parametrize("path", TEXTS, ids=identify)
def test_files_for_deployment_speak_of_the_product_only(path: Path) -> None:
    text = path.read_text("utf-8")
    assert not [pattern for pattern in FOREIGN if re.search(pattern, text, re.IGNORECASE)]


@pytest.mark.parametrize("page", GUIDES, ids=identify)
def test_every_file_for_deployment_that_a_guide_names_exists(page: Path) -> None:
    named = set(re.findall(r"\bdeploy/[\w./-]*\w", page.read_text("utf-8")))
    assert named
    assert [name for name in named - {"deploy/auricle.env"} if not (ROOT / name).exists()] == []


def test_everything_that_the_image_copies_is_there_and_not_ignored() -> None:
    allowed = re.findall(r"^!(.+)$", (DEPLOY / "Dockerfile.dockerignore").read_text("utf-8"), re.MULTILINE)
    for instruction in instructions("COPY"):
        *sources, _ = [word for word in instruction.split() if not word.startswith("--")]
        if stage := re.search(r"--from=(\S+)", instruction):
            assert stage.group(1) in stages()
            continue
        for source in sources:
            path = Path(source)
            assert (ROOT / path).exists(), source
            assert any(fnmatch.fnmatch(source, entry) or Path(entry) in path.parents for entry in allowed), source


@pytest.mark.parametrize("target", ["cpu", "cuda", "runpod"])
def test_every_target_runs_as_a_user_without_rights_and_on_the_known_port(target: str) -> None:
    body = stages()[target]
    assert re.findall(r"^USER (\S+)$", body, re.MULTILINE)[-1] == "auricle"
    assert re.findall(r"^EXPOSE (\d+)$", body, re.MULTILINE) == [str(PORT)]
    assert f"AURICLE_PORT={PORT}" in body
    assert re.search(r"^ENTRYPOINT \[.entrypoint.sh.\]$", body, re.MULTILINE)


def test_the_default_target_is_the_one_for_cpus() -> None:
    assert list(stages())[-1] == "cpu"


def test_extras_that_are_named_exist() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    for file in COMPOSE.values():
        assert set(file["services"]["auricle"]["build"]["args"]["EXTRAS"].split(",")) <= set(extras)


@pytest.mark.parametrize("name", COMPOSE)
def test_files_that_compose_mounts_are_there(name: str) -> None:
    for service in COMPOSE[name]["services"].values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (DEPLOY / source).exists(), volume
            else:
                assert source in COMPOSE[name]["volumes"], volume
        assert set(service.get("secrets", [])) <= set(COMPOSE[name].get("secrets", {}))


def test_compose_builds_targets_that_exist_and_opens_ports_to_this_machine_only() -> None:
    server = COMPOSE["compose.yaml"]["services"]["auricle"]
    assert {server["build"]["target"], CUDA["services"]["auricle"]["build"]["target"]} == {"cpu", "cuda"}
    assert (DEPLOY / server["build"]["context"] / server["build"]["dockerfile"]).samefile(DEPLOY / "Dockerfile")
    published = [
        port for file in COMPOSE.values() for service in file["services"].values() for port in service.get("ports", [])
    ]
    assert all("127.0.0.1:" in port for port in published)
    assert f":{PORT}" in server["ports"][0]


def test_compose_wants_every_secret_from_outside() -> None:
    for file in COMPOSE.values():
        for service in file["services"].values():
            for name, value in service.get("environment", {}).items():
                if re.search("PASSWORD|KEY|DATABASE_URL", name):
                    assert re.search(r"\$\{\w+:\?", value), name


def test_every_way_to_stop_the_server_waits_for_running_requests() -> None:
    waits = {
        "compose": COMPOSE["compose.yaml"]["services"]["auricle"]["stop_grace_period"],
        "fly": FLY["kill_timeout"],
        "systemd": re.findall(r"^TimeoutStopSec=(.+)$", UNIT, re.MULTILINE)[0],
        "launchd": str(PLIST["ExitTimeOut"]),
        "pm2": re.findall(r"kill_timeout: (\d+)000\b", PM2)[0],
        "start.sh": re.findall(r"STOP_TIMEOUT_S:-(\d+)", (DEPLOY / "start.sh").read_text("utf-8"))[0],
    }
    assert {name: wait for name, wait in waits.items() if float(wait.rstrip("s")) <= SHUTDOWN_S} == {}


def test_fly_asks_a_route_that_exists_on_the_port_of_the_image(tmp_path: Path) -> None:
    routes = create_app(Settings(engine="fake", model="nano", data_dir=tmp_path)).openapi()["paths"]
    service = FLY["http_service"]
    assert service["internal_port"] == PORT
    assert {check["path"] for check in service["checks"]} <= set(routes)
    assert FLY["build"]["build-target"] in stages()
    # flyctl looks for it beside fly.toml.
    assert (DEPLOY / FLY["build"]["dockerfile"]).is_file()


def test_the_commands_of_services_are_those_of_auricle() -> None:
    assert PLIST["ProgramArguments"][-2:] == ["/Users/NAME/auricle/.venv/bin/auricle", "serve"]
    assert re.search(r"^ExecStart=/opt/auricle/bin/auricle serve$", UNIT, re.MULTILINE)
    assert 'args: "serve"' in PM2


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "auricle.service"
    unit.write_text(UNIT.replace("/opt/auricle/bin/auricle", sys.executable))
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, timeout=60, check=False
    )
    # It also checks the units of this machine that ours follows.
    assert "auricle.service" not in checked.stderr, checked.stderr


@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")
def test_node_reads_the_file_for_pm2() -> None:
    code = f"console.log(JSON.stringify(require({str(DEPLOY / 'pm2' / 'ecosystem.config.cjs')!r})))"
    told = subprocess.run(["node", "-e", code], capture_output=True, text=True, timeout=60, check=True)
    (app,) = json.loads(told.stdout)["apps"]
    assert Path(app["script"]) == ROOT / ".venv" / "bin" / "auricle"
    assert Path(app["cwd"]) == ROOT


@pytest.mark.parametrize("path", SCRIPTS, ids=identify)
def test_scripts_are_ones_that_a_plain_shell_reads(path: Path) -> None:
    assert path.read_text("utf-8").startswith("#!/bin/sh\n")
    assert path.stat().st_mode & 0o111
    subprocess.run(["sh", "-n", path], check=True, timeout=30)


SHELLCHECK = shutil.which("shellcheck") or shutil.which("shellcheck", path=str(Path(sys.executable).parent))


@pytest.mark.skipif(SHELLCHECK is None, reason="shellcheck is not installed")
@pytest.mark.parametrize("path", SCRIPTS, ids=identify)
def test_shellcheck_finds_nothing_in_scripts(path: Path) -> None:
    checked = subprocess.run([str(SHELLCHECK), path], capture_output=True, text=True, timeout=60, check=False)
    assert checked.returncode == 0, checked.stdout


def metrics() -> dict[str, tuple[str, set[str]]]:
    """Name -> type and labels, as the reference has them."""
    rows = re.findall(
        r"^\| `(auricle_\w+)` \| (\w+) \| ([^|]*)\|", (REFERENCE / "metrics.md").read_text("utf-8"), re.MULTILINE
    )
    return {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}


def expressions(value: Any) -> list[str]:
    """All queries in a dashboard or in a file of rules."""
    if isinstance(value, dict):
        own = [text for key in ("expr", "query") if isinstance(text := value.get(key), str) and "auricle" in text]
        return own + [found for inner in value.values() for found in expressions(inner)]
    return [found for inner in value for found in expressions(inner)] if isinstance(value, list) else []


QUERIES = [
    *(query for path in DASHBOARDS for query in expressions(json.loads(path.read_text("utf-8")))),
    *expressions(yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text("utf-8"))),
]


def test_there_are_queries() -> None:
    assert len(DASHBOARDS) == 1
    assert len(QUERIES) > 20


@pytest.mark.parametrize("query", sorted(set(QUERIES)))
def test_every_metric_that_is_asked_for_exists_with_its_labels(query: str) -> None:
    known = metrics()
    for name, labels in re.findall(r"\b(auricle_\w+)(\{[^}]*\})?", query):
        base = name
        for ending in ("_bucket", "_sum", "_count"):
            if name.removesuffix(ending) in known and known[name.removesuffix(ending)][0] == "histogram":
                base = name.removesuffix(ending)
        assert base in known, name
        kind, has = known[base]
        assert base != name or kind != "histogram", f"{name} is a histogram; its series end in _bucket, _sum, _count"
        asked = set(re.findall(r"(\w+)\s*[=!]~?", labels))
        assert asked <= has | {"job", "instance"}, query
        if kind == "counter":
            assert re.search(rf"(rate|increase)\({name}", query), f"{name} only ever grows; ask for its rate"
    if grouped := re.search(r"\bby \(([^)]*)\)", query):
        names = {name.strip() for name in grouped.group(1).split(",")} - {"le", "job", "instance"}
        assert names <= set().union(*(has for _, has in known.values())), query


def test_prometheus_asks_the_server_of_compose_with_its_key() -> None:
    scrape = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text("utf-8"))["scrape_configs"][0]
    assert scrape["static_configs"] == [{"targets": [f"auricle:{PORT}"]}]
    assert scrape["authorization"]["credentials_file"] == "/run/secrets/auricle_api_key"
    assert "auricle_api_key" in COMPOSE["compose.full.yaml"]["services"]["prometheus"]["secrets"]


def test_grafana_finds_its_data_and_its_dashboard() -> None:
    folder = DEPLOY / "grafana"
    (source,) = yaml.safe_load((folder / "provisioning/datasources/prometheus.yaml").read_text("utf-8"))["datasources"]
    (provider,) = yaml.safe_load((folder / "provisioning/dashboards/auricle.yaml").read_text("utf-8"))["providers"]
    mounts = COMPOSE["compose.full.yaml"]["services"]["grafana"]["volumes"]
    assert f"./grafana/dashboards:{provider['options']['path']}:ro" in mounts
    dashboard = json.loads(DASHBOARDS[0].read_text("utf-8"))
    targets = [target for panel in dashboard["panels"] for target in panel.get("targets", [])]
    assert {target["datasource"]["uid"] for target in targets} == {source["uid"]}
    places = [tuple(panel["gridPos"].values()) for panel in dashboard["panels"]]
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(set(places)) == len(places)


def test_the_files_for_runpod_are_ones_that_its_worker_reads() -> None:
    folder = DEPLOY / "runpod"
    job = json.loads((folder / "test_input.json").read_text("utf-8"))
    assert parse_input(job["input"]).is_plain or job["input"]["model"] == "nano"
    assert json.loads((folder / "template.json").read_text("utf-8"))["isServerless"] is True
    copied = [word for line in instructions("COPY") if "runpod" in line for word in line.split()]
    assert {f"deploy/runpod/{path.name}" for path in folder.glob("*.py")} <= set(copied)
