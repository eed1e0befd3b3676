"""Loads over NBD: fio's nbd engine, and nbd_load where fio cannot make the load (real data, a final flush)."""

import json
import os
import re
import shlex
import statistics
import subprocess
import time

HERE = os.path.dirname(os.path.abspath(__file__))


class Sample:
    """One run: operations and bytes a second, and the server's CPU microseconds for each operation."""

    def __init__(self, operations, size, seconds, cpu):
        self.rate = operations / seconds
        self.mib = size / seconds / (1 << 20)
        self.cpu_us = cpu / max(operations, 1) * 1e6


class Result:
    """Medians over the runs of one load on one server."""

    def __init__(self, samples):
        self.samples = samples
        self.rate = statistics.median(s.rate for s in samples)
        self.mib = statistics.median(s.mib for s in samples)
        self.cpu_us = statistics.median(s.cpu_us for s in samples)


def fio_command(uri, rw, depth, block, span, seconds, *options):
    """`uri` is NBD's, or rbd:IMAGE."""
    engine = (
        ["--ioengine=rbd", "--clientname=admin", "--pool=rbd", f"--rbdname={uri[4:]}"]
        if uri.startswith("rbd:")
        else ["--ioengine=nbd", f"--uri={uri}"]
    )
    return [
        "fio", "--output-format=json", "--name=load", *engine, f"--rw={rw}", f"--bs={block}",
        f"--iodepth={depth}", f"--size={span}", f"--runtime={seconds}", "--time_based", "--norandommap",
        "--randrepeat=0", *options,
    ]  # fmt: skip


def fio_side(name, rw, status, out, err):
    if status:
        raise RuntimeError(f"fio on {name}: {(err or out).strip()[-500:]}")
    job = json.loads(out[out.index("{") :])["jobs"][0]
    return job["read" if "read" in rw else "write"]


def fio(server, uri, rw, depth, block, span, seconds, *options):
    command = fio_command(uri, rw, depth, block, span, seconds, *options)
    before = server.cpu_seconds()
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    cpu = server.cpu_seconds() - before
    side = fio_side(server.name, rw, result.returncode, result.stdout, result.stderr)
    return Sample(side["total_ios"], side["io_bytes"], side["runtime"] / 1000, cpu)


def longest_wait(server, uri, span, seconds, act):
    """Seconds that a host waits at most for a write, one at a time, while act() is done in the middle."""
    load = subprocess.Popen(
        fio_command(uri, "randwrite", 1, "4k", span, seconds), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    time.sleep(seconds / 2)
    act()
    out, err = load.communicate()
    return fio_side(server.name, "randwrite", load.returncode, out, err)["clat_ns"]["max"] / 1e9


class Gets:
    """What wrk says of a node's REST API: answers, errors, seconds, and the node's CPU a request."""

    def __init__(self, server, path, seconds, connections=16, delay_ms=None):
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", server.api + path]
        script = None
        if delay_ms is not None:
            script = os.path.join(server.directory, "delay.lua")
            with open(script, "w", encoding="ascii") as file:
                file.write(f"function delay() return {delay_ms} end\n")
            command[1:1] = ["-s", script]
        before = server.cpu_seconds()
        result = subprocess.run(command, capture_output=True, text=True, check=True)
        cpu = server.cpu_seconds() - before
        said = re.search(r"(\d+) requests in ([\d.]+)s", result.stdout)
        if not said:
            raise RuntimeError(f"wrk: {result.stdout} {result.stderr}")
        if trouble := re.search(r"(Socket errors|Non-2xx).*", result.stdout):
            raise RuntimeError(f"wrk on {path}: {trouble[0]}")
        self.count, self.seconds = int(said[1]), float(said[2])
        self.rate = self.count / self.seconds
        self.cpu_us = cpu / self.count * 1e6
        self.per_core = self.count / cpu if cpu else float("inf")


# Half of each 4 KiB is fresh random bytes: unique, and 2:1 compressible.
HALF = ("--refill_buffers", "--buffer_compress_percentage=50", "--buffer_compress_chunk=4k")


def compiled(directory, source, *flags):
    """A C program beside this file, compiled for this run."""
    program = os.path.join(directory, source.removesuffix(".c"))
    subprocess.run(["cc", "-std=gnu17", "-O2", os.path.join(HERE, source), "-o", program, *flags], check=True)
    return program


class NbdLoad:
    """nbd_load.c."""

    def __init__(self, directory):
        flags = subprocess.run(["pkg-config", "--cflags", "--libs", "libnbd"], capture_output=True, text=True, check=True)
        self.program = compiled(directory, "nbd_load.c", *shlex.split(flags.stdout))

    def __call__(self, server, uri, direction, pattern, block, depth, span, seconds, source="-", salt=0):
        arguments = [uri, direction, pattern, block, depth, span, seconds, source, salt]
        before = server.cpu_seconds()
        result = subprocess.run([self.program, *map(str, arguments)], capture_output=True, text=True, check=False)
        cpu = server.cpu_seconds() - before
        if result.returncode:
            raise RuntimeError(f"nbd_load on {server.name}: {result.stderr.strip()}")
        operations, size, took = result.stdout.split()
        return Sample(int(operations), int(size), float(took), cpu)


def measure(repeats, runs):
    """runs: {name: function() -> Sample}. Takes turns, so that a disturbance meets all alike."""
    samples = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            samples[name].append(run())
    return {name: Result(taken) for name, taken in samples.items()}
