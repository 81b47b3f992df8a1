"""`make run` as a newcomer meets it: the real service, from nothing to a webhook on the screen."""

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from dev.embedded.ports import free_port

ROOT = Path(__file__).parents[2]

Start = Callable[..., object]
Gone = Callable[[list[psutil.Process]], bool]


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"PORT": str(free_port()), "PBX_DATA_DIR": str(tmp_path / "data")}


def paste(*lines: str) -> list[dict[str, object]]:
    """What a shell answers to the screen's lines, one JSON object a line of output."""
    script = "\n".join(f"{line}; echo" for line in lines)
    shell = subprocess.run(["/bin/sh", "-c", script], check=True, capture_output=True, text=True, timeout=30)
    return [json.loads(line) for line in shell.stdout.splitlines() if line.strip()]


def shown_lines(running) -> list[str]:
    return [line.strip() for line in running.lines if "curl" in line]


def test_a_pasted_credit_change_is_seen_applied_and_delivered(run: Start, environ: dict[str, str]):
    running = run(ROOT, **environ).up()
    changed, customer = paste(*shown_lines(running))
    assert changed == {"id": "1", "message": "successfully"}
    assert customer["credit"] == 25.5
    running.line(r"^subscriber +\| customer\.credit\.changed  customer 1  -12317\.5 → 25\.5 .* signature ok$", 5)


def test_ctrl_c_leaves_no_process_and_a_second_run_keeps_key_and_data(
    run: Start, all_gone: Gone, environ: dict[str, str]
):
    first = run(ROOT, **environ).up()
    token, put, get = shown_lines(first)
    paste(token, put)
    everything = first.everything()
    began = time.monotonic()
    assert first.stop() == 0
    assert time.monotonic() - began < 5
    assert all_gone(everything, 0.2)

    second = run(ROOT, **environ).up()
    assert shown_lines(second) == [token, put, get]  # the key is part of the first
    assert paste(token, get)[-1]["credit"] == 25.5


def test_a_killed_run_leaves_no_process_and_the_next_one_starts(run: Start, all_gone: Gone, environ: dict[str, str]):
    running = run(ROOT, **environ).up()
    everything = running.everything()
    running.process.kill()
    assert all_gone(everything)
    assert run(ROOT, **environ).up().stop() == 0
