"""Ceph RBD with two replicas on this machine: one monitor, one manager, two OSDs on files (BlueStore), no authentication."""

import os
import shutil
import subprocess
import time
import uuid

import servers

PROGRAMS = ("ceph", "ceph-mon", "ceph-mgr", "ceph-osd", "monmaptool", "rbd")


def missing():
    return [program for program in PROGRAMS if not shutil.which(program)]


class Ceph:
    """`uri` names an image for fio. The client's cache is off: an answered write is on both replicas."""

    name = "Ceph RBD"
    image = "v"
    uri = "rbd:" + image

    def __init__(self, directory, size, flash=8 << 30):
        self.directory = os.path.join(directory, "ceph")
        self.size, self.flash = size, flash
        self.daemons = []

    def configuration(self, fsid, port):
        at = self.directory
        options = {
            "global": {
                "fsid": fsid, "mon host": f"v2:127.0.0.1:{port}/0", "public addr": "127.0.0.1",
                "auth cluster required": "none", "auth service required": "none", "auth client required": "none",
                "run dir": at, "admin socket": f"{at}/$name.asok", "log file": f"{at}/$name.log",
                "mon cluster log file": f"{at}/cluster.log", "crash dir": at,
                "mon data": f"{at}/mon", "mgr data": f"{at}/mgr", "osd data": f"{at}/osd$id",
                "osd pool default size": 2, "osd pool default min size": 1, "osd crush chooseleaf type": 0,
                "osd pool default pg autoscale mode": "off",
            },
            "osd": {"osd objectstore": "bluestore", "bluestore block size": self.flash, "bluestore block create": "true"},
            "client": {"rbd cache": "false"},
        }  # fmt: skip
        return "\n".join(f"[{part}]\n" + "".join(f"{k} = {v}\n" for k, v in values.items()) for part, values in options.items())

    def do(self, *command):
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        if result.returncode:
            raise RuntimeError(f"{' '.join(command)}: {result.stderr.strip()[-500:]}")
        return result.stdout

    def daemon(self, *command):
        with open(os.path.join(self.directory, "daemons.log"), "ab") as log:
            self.daemons.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log))

    def start(self):
        fsid, port = str(uuid.uuid4()), servers.free_port()
        for part in ("mon", "mgr", "osd0", "osd1"):
            os.makedirs(os.path.join(self.directory, part))
        os.environ["CEPH_CONF"] = os.path.join(self.directory, "ceph.conf")
        with open(os.environ["CEPH_CONF"], "w", encoding="ascii") as file:
            file.write(self.configuration(fsid, port))
        monmap = os.path.join(self.directory, "monmap")
        self.do("monmaptool", "--create", "--fsid", fsid, "--addv", "a", f"[v2:127.0.0.1:{port}]", monmap)
        self.do("ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap)
        self.daemon("ceph-mon", "-f", "-i", "a")
        for osd in ("0", "1"):
            identity = str(uuid.uuid4())
            self.do("ceph", "osd", "new", identity)
            self.do("ceph-osd", "--mkfs", "-i", osd, "--osd-uuid", identity)
            self.daemon("ceph-osd", "-f", "-i", osd)
        self.daemon("ceph-mgr", "-f", "-i", "x")
        end = time.monotonic() + 60
        while "2 up" not in self.do("ceph", "osd", "stat"):
            if time.monotonic() > end:
                raise RuntimeError("Ceph's OSDs do not come up")
            time.sleep(0.2)
        self.do("ceph", "osd", "pool", "create", "rbd", "32", "32")
        self.do("rbd", "create", "--size", f"{self.size >> 20}M", self.image)

    def __enter__(self):
        if missing():
            raise RuntimeError(f"no {', '.join(missing())}: apt-get install ceph-mon ceph-mgr ceph-osd ceph-common")
        shutil.rmtree(self.directory, ignore_errors=True)
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for daemon in self.daemons:
            daemon.kill()
            daemon.wait()
        self.daemons = []
        os.environ.pop("CEPH_CONF", None)
        shutil.rmtree(self.directory, ignore_errors=True)

    def cpu_seconds(self):
        """Both OSDs'."""
        return sum(servers.cpu_seconds(daemon.pid) for daemon in self.daemons[1:3])
