"""A PostgreSQL server for tests, of the programs that are installed on this machine."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest


@dataclass(frozen=True, kw_only=True)
class Postgres:
    """A server that listens on a socket in ``folder``."""

    programs: Path
    folder: Path
    user: str | None

    def create_database(self) -> str:
        """The URL of a fresh database."""
        name = f"auricle_{uuid4().hex}"
        self._call("createdb", "-h", str(self.folder), "-U", "auricle", name)
        return f"postgresql://auricle@/{name}?host={self.folder}"

    def restart(self) -> None:
        """Break all connections, as an upgrade of the server does."""
        self.stop()
        self.start()

    def start(self) -> None:
        options = f"-k {self.folder} -c listen_addresses='' -c fsync=off"
        log = self.folder / "log"
        self._call("pg_ctl", "-D", str(self.folder / "data"), "-w", "-l", str(log), "-o", options, "start")

    def stop(self) -> None:
        self._call("pg_ctl", "-D", str(self.folder / "data"), "-w", "-m", "immediate", "stop")

    def create(self) -> None:
        self._call("initdb", "-D", str(self.folder / "data"), "-U", "auricle", "-A", "trust", "-E", "UTF8")

    def _call(self, program: str, *arguments: str) -> None:
        # It refuses to work for root.
        subprocess.run(
            [self.programs / program, *arguments],
            check=True,
            user=self.user,
            stdout=subprocess.DEVNULL,
            cwd=self.folder,
        )


def find_programs() -> Path | None:
    """The folder of ``initdb`` and ``pg_ctl``."""
    on_path = shutil.which("pg_ctl")
    installed = [*([Path(on_path).resolve().parent] if on_path else []), *Path("/usr/lib/postgresql").glob("*/bin")]
    return next((folder for folder in installed if (folder / "initdb").exists()), None)


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A server of the test's own; skips the test where there is none."""
    programs = find_programs()
    if programs is None:
        pytest.skip("PostgreSQL's server is not installed (on Debian: apt-get install postgresql)")
    is_root = os.name == "posix" and os.geteuid() == 0
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    if is_root:
        shutil.chown(folder, "nobody")
    server = Postgres(programs=programs, folder=folder, user="nobody" if is_root else None)
    try:
        server.create()
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
