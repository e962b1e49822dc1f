"""A process that imports torch once and forks the ranks of the tests with several processes.

For each line of its input, a request as JSON, it starts `world` processes, each of which calls a function of a file
with keyword arguments, and answers with a line when all have ended. A rank leaves in the request's folder

- `rank-N.json`: what the function returned, or its error, with the tensors left out;
- `rank-N.safetensors`: the tensors that it returned under the name `tensors`;
- `rank-N.log`: what it printed.
"""

from __future__ import annotations

import faulthandler
import importlib.util
import json
import multiprocessing.util
import os
import signal
import socket
import sys
import time
import traceback
from pathlib import Path

import accelerate  # noqa: F401 - each rank has it then
import pytest  # noqa: F401 - the functions are in files of tests
import torch
import torch._dynamo  # data-parallel modules import it, for seconds
from safetensors.torch import save_file

from kladml.training import UniversalTrainer  # noqa: F401 - with all that it needs
from kladml.training.ranks import leave


def serve() -> None:
    parent = os.getppid()
    torch.set_num_threads(1)
    for line in sys.stdin:
        request = json.loads(line)
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            port = found.getsockname()[1]
        children = [start(request, rank, port) for rank in range(request["world"])]
        exit_codes: dict[int, int] = {}
        deadline = time.monotonic() + request["limit"]
        while len(exit_codes) < len(children):
            for pid in set(children) - set(exit_codes):
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    exit_codes[pid] = os.waitstatus_to_exitcode(status)
            if time.monotonic() > deadline or os.getppid() != parent:
                for pid in set(children) - set(exit_codes):
                    os.killpg(pid, signal.SIGKILL)
            time.sleep(0.005)
        sys.stdout.write(json.dumps([exit_codes[pid] for pid in children]) + "\n")
        sys.stdout.flush()


def start(request: dict, rank: int, port: int) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.setsid()
        log = os.open(f"{request['folder']}/rank-{rank}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        faulthandler.dump_traceback_later(request["limit"] - 1)
        world = request["world"]
        if world > 1:
            os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world)}
            os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        os.environ |= request["environment"]
        code = run(request, rank)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def run(request: dict, rank: int) -> int:
    path = Path(request["folder"]) / f"rank-{rank}"
    try:
        spec = importlib.util.spec_from_file_location("job", request["file"])
        module = importlib.util.module_from_spec(spec)
        sys.modules["job"] = module
        spec.loader.exec_module(module)
        returned = getattr(module, request["function"])(**request["arguments"]) or {}
        tensors = {name: tensor.contiguous().clone() for name, tensor in returned.pop("tensors", {}).items()}
        save_file(tensors, path.with_suffix(".safetensors"))
        path.with_suffix(".json").write_text(json.dumps({"returned": returned}))
        leave()
        multiprocessing.util._exit_function()  # loading workers end as they do at the end of a program
    except BaseException as error:  # noqa: BLE001 - the test judges it
        traceback.print_exc()
        found = {"error": type(error).__name__, "message": str(error), "seconds": time.monotonic()}
        path.with_suffix(".json").write_text(json.dumps(found))
        return 1
    return 0


if __name__ == "__main__":
    serve()
