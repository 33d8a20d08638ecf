#!/bin/sh
# Auricle as a background process of this user: deploy/start.sh setup|start|stop|restart|status
#
# Settings are environment variables AURICLE_…; those in deploy/auricle.env are read first, where that file exists.
# Of the script itself: PYTHON (python3), VENV (.venv), STATE_DIR (.run, for the pid and the log), START_TIMEOUT_S,
# STOP_TIMEOUT_S, and on a Mac PREVENT_SLEEP=true.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd -P)
settings=${SETTINGS:-$root/deploy/auricle.env}
if [ -f "$settings" ]; then
    set -a
    # shellcheck source=/dev/null
    . "$settings"
    set +a
fi
venv=${VENV:-$root/.venv}
state=${STATE_DIR:-$root/.run}
pid_file=$state/auricle.pid
log=$state/auricle.log
# Longer than AURICLE_SHUTDOWN_TIMEOUT_S, in which running requests may finish.
stop_timeout_s=${STOP_TIMEOUT_S:-45}
start_timeout_s=${START_TIMEOUT_S:-60}

say() { printf 'auricle: %s\n' "$1"; }
fail() {
    printf 'auricle: %s\n' "$1" >&2
    exit "${2:-1}"
}

# The pid of the server that runs, or nothing. A pid that now belongs to another program does not count.
running() {
    [ -f "$pid_file" ] || return 0
    pid=$(cat "$pid_file")
    case $(ps -p "$pid" -o args= 2>/dev/null) in
    *"auricle serve"*) echo "$pid" ;;
    esac
}

setup() {
    python=${PYTHON:-python3}
    command -v "$python" >/dev/null || fail "there is no $python; install Python 3.11 or newer, or set PYTHON"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "Auricle needs Python 3.11 or newer, and $python is $("$python" -V 2>&1); set PYTHON to a newer one"
    [ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
    if [ -x "$venv/bin/auricle" ] && [ "$venv/.start-sh" -nt "$root/pyproject.toml" ]; then
        say "is set up in $venv"
        return
    fi
    say "is being installed into $venv, about 500 MB"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable "$root"
    touch "$venv/.start-sh"
    say "is set up: $("$venv/bin/auricle" --version)"
}

start() {
    pid=$(running)
    if [ -n "$pid" ]; then
        say "runs already, pid $pid"
        return
    fi
    [ -x "$venv/bin/auricle" ] || fail "is not installed; run: $0 setup"
    mkdir -p "$state"
    [ ! -f "$log" ] || mv -f "$log" "$log.1"
    : >"$log"
    nohup "$venv/bin/auricle" serve >>"$log" 2>&1 </dev/null &
    pid=$!
    waited_s=0
    # It listens at once; its model is loaded in the background.
    until grep -q ' listens on ' "$log"; do
        if ! kill -0 "$pid" 2>/dev/null; then
            tail -n 5 "$log" >&2
            fail "did not start; its log is $log"
        fi
        if [ "$waited_s" -ge "$start_timeout_s" ]; then
            kill "$pid"
            fail "did not start within $start_timeout_s s; its log is $log"
        fi
        sleep 1
        waited_s=$((waited_s + 1))
    done
    echo "$pid" >"$pid_file"
    if [ "${PREVENT_SLEEP:-false}" = true ] && [ "$(uname)" = Darwin ]; then
        caffeinate -i -w "$pid" &
    fi
    say "started, pid $pid, at $(address)"
}

stop() {
    pid=$(running)
    if [ -z "$pid" ]; then
        rm -f "$pid_file"
        say "does not run"
        return
    fi
    kill "$pid"
    waited_s=0
    while [ -n "$(running)" ]; do
        if [ "$waited_s" -ge "$stop_timeout_s" ]; then
            say "did not stop within $stop_timeout_s s and is killed"
            kill -9 "$pid"
            break
        fi
        sleep 1
        waited_s=$((waited_s + 1))
    done
    rm -f "$pid_file"
    say "stopped"
}

status() {
    pid=$(running)
    # 3 is what init scripts say for a service that does not run.
    [ -n "$pid" ] || fail "does not run" 3
    say "runs, pid $pid, at $(address); log: $log"
}

address() { sed -n 's/.* listens on //p' "$log" | tail -n 1; }

case ${1:-} in
setup | start | stop | status) "$1" ;;
restart)
    stop
    start
    ;;
*) fail "usage: $0 setup|start|stop|restart|status" 2 ;;
esac
