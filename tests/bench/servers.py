"""The servers that are measured: PStorage and its peers, each on a loopback TCP port, and the CPU each used."""

import json
import os
import shutil
import signal
import socket
import subprocess
import time

TICK = os.sysconf("SC_CLK_TCK")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as held:
        return held.getsockname()[1]


def listening(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except OSError:
        return False


def cpu_seconds(pid):
    """User and system time of all its threads, those that ended included."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


class Server:
    """A process that listens. `uri` is what clients connect to; a `with` block ends it."""

    name = ""

    def __init__(self, directory):
        self.directory = directory
        self.port = free_port()
        self.process = None
        self.uri = f"nbd://127.0.0.1:{self.port}/"

    def command(self):
        raise NotImplementedError

    def environment(self):
        return None

    def start(self):
        self.log = open(os.path.join(self.directory, f"{type(self).__name__}.log"), "ab")
        self.process = subprocess.Popen(
            self.command(), env=self.environment(), stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log
        )
        end = time.monotonic() + 120
        while not self.ready():
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"{self.name} does not start; see {self.log.name}")
            time.sleep(0.001)
        return self

    def ready(self):
        return listening(self.port)

    def stop(self, how=signal.SIGTERM):
        if self.process:
            self.process.send_signal(how)
            self.process.wait(timeout=120)
            self.process = None

    def __enter__(self):
        return self.start() if not self.process else self

    def __exit__(self, *_):
        self.stop()

    def cpu_seconds(self):
        return cpu_seconds(self.process.pid)

    def peak_memory(self):
        """Most resident memory so far, in bytes."""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as file:
            for line in file:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
        raise RuntimeError("no VmHWM")


class NbdkitMemory(Server):
    name = "nbdkit memory"

    def __init__(self, directory, size):
        super().__init__(directory)
        self.size = size

    def command(self):
        return ["nbdkit", "-f", "-i", "127.0.0.1", "-p", str(self.port), "memory", str(self.size)]


class FileServer(Server):
    """Serves a raw file that was written once, so that its blocks are allocated."""

    def __init__(self, directory, size):
        super().__init__(directory)
        self.path = os.path.join(directory, f"{type(self).__name__}.raw")
        block = os.urandom(1 << 20)
        with open(self.path, "wb") as file:
            for _ in range(size >> 20):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())

    def __exit__(self, *exception):
        super().__exit__(*exception)
        os.unlink(self.path)


class NbdkitFile(FileServer):
    name = "nbdkit file"

    def command(self):
        return ["nbdkit", "-f", "-i", "127.0.0.1", "-p", str(self.port), "file", self.path]


class QemuUring(FileServer):
    name = "qemu-nbd io_uring"
    options = ["--cache=none", "--aio=io_uring"]

    def command(self):
        return ["qemu-nbd", "-t", "-e", "16", "-b", "127.0.0.1", "-p", str(self.port), "-f", "raw", *self.options, self.path]


class QemuDirectsync(QemuUring):
    name = "qemu-nbd directsync"
    options = ["--cache=directsync"]


class PStorage(Server):
    """A node with a data directory of its own; `volume()` makes a volume and gives its URI."""

    name = "PStorage"

    def __init__(self, directory, programs, flash="24G", settings=None, data="pstorage"):
        super().__init__(directory)
        self.programs = programs
        self.data = os.path.join(directory, data)
        self.rpc = f"tcp://127.0.0.1:{free_port()}"
        self.settings = {
            "PSTORAGE_DATA_DIR": self.data,
            "PSTORAGE_FLASH_DEVICES": f"file:{self.data}/flash0,size={flash}",
            "PSTORAGE_RPC_LISTEN": self.rpc,
            "PSTORAGE_NBD_LISTEN": f"127.0.0.1:{self.port}",
            "PSTORAGE_NVME_LISTEN": "",
            "PSTORAGE_API_PORT": str(free_port()),
            **(settings or {}),
        }
        self.api = f"http://127.0.0.1:{self.settings['PSTORAGE_API_PORT']}"
        shutil.rmtree(self.data, ignore_errors=True)

    def command(self):
        return [os.path.join(self.programs, "pstoraged")]

    def environment(self):
        return {**{k: v for k, v in os.environ.items() if not k.startswith("PSTORAGE_")}, **self.settings}

    def cli(self, *arguments):
        command = [os.path.join(self.programs, "pstorage"), "--endpoint", self.rpc, *arguments]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            raise RuntimeError(f"{' '.join(command)}: {result.stderr.strip()}")
        return result.stdout

    def volume(self, name, size, *options):
        self.cli("volume", "create", name, "--size", str(size), *options)
        return self.uri + name

    def metric(self, path):
        """The first value in `pstorage metrics --json` whose path ends like this ("space.stored_bytes")."""
        found = find(json.loads(self.cli("metrics", "--json")), path.split("."))
        if found is None:
            raise RuntimeError(f"no {path} in pstorage metrics")
        return found

    def __exit__(self, *exception):
        super().__exit__(*exception)
        shutil.rmtree(self.data, ignore_errors=True)


class Mediator(Server):
    name = "mediator"

    def __init__(self, directory, programs):
        super().__init__(directory)
        self.programs = programs
        self.data = os.path.join(directory, "mediator")
        self.rpc = f"tcp://127.0.0.1:{self.port}"
        shutil.rmtree(self.data, ignore_errors=True)

    def command(self):
        return [os.path.join(self.programs, "pstorage-mediator")]

    def environment(self):
        return {"PSTORAGE_DATA_DIR": self.data, "PSTORAGE_MEDIATOR_LISTEN": self.rpc}

    def __exit__(self, *exception):
        super().__exit__(*exception)
        shutil.rmtree(self.data, ignore_errors=True)


class Mirror:
    """Two nodes and a mediator on this machine. The first node leads when it begins; `cpu_seconds` is both nodes'."""

    name = "PStorage, mirrored"

    def __init__(self, directory, programs, flash):
        self.mediator = Mediator(directory, programs)
        self.nodes = [PStorage(directory, programs, flash, data=f"n{i}") for i in (1, 2)]
        for i, node in enumerate(self.nodes):
            other = self.nodes[1 - i]
            node.settings |= {
                "PSTORAGE_NODE_NAME": f"n{i + 1}",
                "PSTORAGE_CLUSTER_ENABLED": "true",
                "PSTORAGE_PEERS": f"n{2 - i}={other.rpc}",
                "PSTORAGE_MEDIATOR": self.mediator.rpc,
            }

    def __enter__(self):
        self.mediator.start()
        for node in self.nodes:
            node.start()
        self.wait_in_sync(self.nodes[0])
        return self

    def __exit__(self, *exception):
        for server in (*self.nodes, self.mediator):
            server.__exit__(*exception)

    def pod(self, node):
        return json.loads(node.cli("--json", "pod", "show"))

    def wait_in_sync(self, node, limit=60):
        end = time.monotonic() + limit
        while True:
            pod = self.pod(node)
            if pod["serving"] and all(member["role"] in ("primary", "sync") for member in pod["members"]):
                return
            if time.monotonic() > end:
                raise RuntimeError(f"the mirror is not in sync after {limit} s: {pod}")
            time.sleep(0.02)

    def cpu_seconds(self):
        return sum(node.cpu_seconds() for node in self.nodes)

    def wire_bytes(self):
        """Sent by the first node to the second one's RPC port, as TCP counts it."""
        result = subprocess.run(["ss", "-tinHO", "dport", "=", f":{self.nodes[1].rpc.rpartition(':')[2]}"],
                                capture_output=True, text=True, check=True)  # fmt: skip
        return sum(int(word.partition(":")[2]) for word in result.stdout.split() if word.startswith("bytes_sent:"))


def serves(uri):
    """A host that connects anew: does the server give it this export?"""
    return subprocess.run(["nbdinfo", "--size", uri], capture_output=True, check=False, timeout=30).returncode == 0


def find(value, wanted):
    inner = value
    for key in wanted:
        inner = inner.get(key) if isinstance(inner, dict) else None
    if inner is not None:
        return inner
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    for child in children:
        found = find(child, wanted)
        if found is not None:
            return found
    return None
