"""Real data from this system, and what an ideal 4 KiB dedup + LZ4 of 32 KiB would make of it.

The computation shares no code with the product: hashes are BLAKE2b, LZ4 is the system's library."""

import ctypes
import ctypes.util
import hashlib
import os
import random
import shutil
import subprocess
import time

BLOCK = 4096
GROUP = 8 * BLOCK

lz4 = ctypes.CDLL(ctypes.util.find_library("lz4"))


def lz4_size(data):
    bound = lz4.LZ4_compressBound(len(data))
    return lz4.LZ4_compress_default(data, ctypes.create_string_buffer(bound), len(data), bound)


def lz4_speed(path, limit=256 << 20):
    """One core's LZ4 speed on a file in 32 KiB pieces, MiB a second."""
    out = ctypes.create_string_buffer(lz4.LZ4_compressBound(GROUP))
    with open(path, "rb") as file:
        data = file.read(limit)
    pieces = [data[i : i + GROUP] for i in range(0, len(data) - GROUP + 1, GROUP)]
    begin = time.perf_counter()
    for piece in pieces:
        lz4.LZ4_compress_default(piece, out, GROUP, len(out))
    return len(pieces) * GROUP / (time.perf_counter() - begin) / (1 << 20)


def real_files(limit):
    """Regular files of /usr, in a fixed order that mixes programs, libraries, text and data, up to `limit` bytes."""
    total = 0
    for top in ("/usr/include", "/usr/bin", "/usr/share", "/usr/lib"):
        budget = total + limit // 4
        for directory, folders, names in os.walk(top):
            folders.sort()
            for name in sorted(names):
                path = os.path.join(directory, name)
                if os.path.islink(path) or not os.path.isfile(path):
                    continue
                size = os.path.getsize(path)
                if size == 0 or size > limit // 8:
                    continue
                if total + size > budget:
                    break
                total += size
                yield path
            else:
                continue
            break


def real_data(path, limit):
    """One file of real files' bytes, each file starting at a block as in a file system; blocks of one repeated
    byte left out, which any array would remove. A multiple of 128 KiB long."""
    size = 0
    with open(path, "wb") as out:
        for name in real_files(limit):
            with open(name, "rb") as file:
                data = file.read()
            data += bytes(-len(data) % BLOCK)
            for at in range(0, len(data), BLOCK):
                block = data[at : at + BLOCK]
                if block != block[:1] * BLOCK:
                    out.write(block)
                    size += BLOCK
        size -= size % (128 << 10)
        out.truncate(size)
    return size


def images(directory, limit):
    """Two ext4 images: one of real files, and a copy of it in which some files were removed, changed and added."""
    tree, first, second = (os.path.join(directory, n) for n in ("tree", "first.img", "second.img"))
    shutil.rmtree(tree, ignore_errors=True)
    paths = list(real_files(limit))
    for path in paths:
        target = tree + path
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copy2(path, target)
    size = limit * 5 // 4 + (64 << 20)
    size -= size % (1 << 20)
    if os.path.exists(first):
        os.unlink(first)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-i", "4096", "-d", tree, first, f"{size >> 10}k"], check=True, capture_output=True)
    subprocess.run(["cp", "--sparse=always", first, second], check=True)
    draw = random.Random(42)
    commands = []
    for number, path in enumerate(draw.sample(paths, len(paths) // 20)):
        changed = os.path.join(directory, f"changed{number}")
        with open(path, "rb") as file:
            data = bytearray(file.read())
        at = draw.randrange(len(data))
        data[at:at] = draw.randbytes(100)
        with open(changed, "wb") as file:
            file.write(data)
        commands += [f"rm {path}", f"write {changed} {path}"]
    script = os.path.join(directory, "debugfs.commands")
    with open(script, "w", encoding="utf-8") as file:
        file.write("\n".join(commands) + "\n")
    subprocess.run(["debugfs", "-w", "-f", script, second], check=True, capture_output=True)
    shutil.rmtree(tree)
    for name in os.listdir(directory):
        if name.startswith("changed"):
            os.unlink(os.path.join(directory, name))
    return first, second


def is_pattern(block):
    """A repeated 1, 2 or 4 byte pattern: no data to store."""
    return block == block[:4] * (BLOCK // 4)


def ideal(paths):
    """Over these images in order: (bytes that hold something else than zeroes, unique blocks, bytes after dedup
    and LZ4 of eight unique blocks together, kept raw where that is smaller)."""
    seen, logical, stored, unique, group = set(), 0, 0, 0, []

    def close():
        nonlocal stored
        if group:
            data = b"".join(group)
            stored += min(lz4_size(data), len(data))
            group.clear()

    for path in paths:
        with open(path, "rb") as file:
            while chunk := file.read(1 << 20):
                for at in range(0, len(chunk), BLOCK):
                    block = chunk[at : at + BLOCK]
                    if block == bytes(BLOCK):
                        continue
                    logical += BLOCK
                    if is_pattern(block):
                        continue
                    digest = hashlib.blake2b(block, digest_size=16).digest()
                    if digest in seen:
                        continue
                    seen.add(digest)
                    unique += 1
                    group.append(block)
                    if len(group) == 8:
                        close()
        close()
    return logical, unique, stored
