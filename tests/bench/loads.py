"""Loads over NBD: fio's nbd engine, and nbd_load where fio cannot make the load (real data, a final flush)."""

import json
import os
import re
import shlex
import signal
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


class Wrk:
    """wrk asking a node's REST API, while it runs."""

    def __init__(self, server, path, seconds, connections=16, delay_ms=None):
        self.path = path
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", server.api + path]
        script = None
        if delay_ms is not None:
            script = os.path.join(server.directory, "delay.lua")
            with open(script, "w", encoding="ascii") as file:
                file.write(f"function delay() return {delay_ms} end\n")
            command[1:1] = ["-s", script]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def result(self):
        """Waits for it: answers and seconds. Any error is one."""
        out, err = self.process.communicate()
        said = re.search(r"(\d+) requests in ([\d.]+)(s|m)", out)
        if self.process.returncode or not said:
            raise RuntimeError(f"wrk: {out} {err}")
        if trouble := re.search(r"(Socket errors|Non-2xx).*", out):
            raise RuntimeError(f"wrk on {self.path}: {trouble[0]}")
        return int(said[1]), float(said[2]) * (60 if said[3] == "m" else 1)


class Gets:
    """What wrk says of a node's REST API: answers, errors, seconds, and the node's CPU a request."""

    def __init__(self, server, path, seconds, connections=16, delay_ms=None):
        before = server.cpu_seconds()
        self.count, self.seconds = Wrk(server, path, seconds, connections, delay_ms).result()
        cpu = server.cpu_seconds() - before
        self.rate = self.count / self.seconds
        self.cpu_us = cpu / self.count * 1e6
        self.per_core = self.count / cpu if cpu else float("inf")


class Beside:
    """Writes of one fio that never pauses, in short windows with and without GETs in turn. Each window with GETs is compared with its two
    neighbours without: what else the machine does changes more slowly than that. `ratios` has one number for each, `asked` the rate of GETs
    while they were made. wrk runs all the time as well; SIGSTOP holds it back in between. `path` None: a second set of windows without."""

    WINDOW, SETTLE = 0.2, 0.02

    def __init__(self, server, uri, span, seconds, path, connections=16, delay_ms=None):
        log = os.path.join(server.directory, "beside")
        options = (f"--write_iops_log={log}", "--log_avg_msec=10", "--log_unix_epoch=1", *HALF)
        load = subprocess.Popen(
            fio_command(uri, "randwrite", 32, "4k", span, seconds + 8, *options), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        time.sleep(2)
        gets = Wrk(server, path, seconds + 2, connections, delay_ms) if path else None
        marks = []
        end = time.time() + seconds
        while time.time() < end:
            for among in (False, True):
                if gets:
                    gets.process.send_signal(signal.SIGCONT if among else signal.SIGSTOP)
                begin = time.time()
                time.sleep(self.WINDOW)
                marks.append((begin + self.SETTLE, time.time()))
        if gets:
            gets.process.send_signal(signal.SIGCONT)
            self.asked = gets.result()[0] / (len(marks) // 2 * self.WINDOW)
        out, err = load.communicate()
        fio_side(server.name, "randwrite", load.returncode, out, err)
        rates = self.windows(f"{log}_iops.1.log", marks)
        # The windows without GETs are the even ones.
        self.ratios = sorted(
            2 * rates[i] / (rates[i - 1] + rates[i + 1]) for i in range(1, len(rates) - 1, 2) if rates[i - 1] + rates[i + 1]
        )
        self.median = statistics.median(self.ratios)
        n = len(self.ratios)
        below = max(int(n / 2 - 0.98 * n**0.5), 0)  # by ranks: the median of all such windows is between the two in 95 of 100 cases
        self.low, self.high = self.ratios[below], self.ratios[n - 1 - below]

    @staticmethod
    def windows(log, marks):
        """Mean rate in each, from fio's log of 10 ms steps: "ms, operations a second, ..."."""
        with open(log, encoding="ascii") as file:
            steps = [tuple(map(int, line.split(",")[:2])) for line in file]
        rates, at = [], 0
        for begin, end in marks:
            while at < len(steps) and steps[at][0] < begin * 1000 + 10:
                at += 1
            first = at
            while at < len(steps) and steps[at][0] <= end * 1000:
                at += 1
            rates.append(sum(rate for _, rate in steps[first:at]) / max(at - first, 1))
        return rates


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
