"""Small stand-ins for MNIST, and a server that misbehaves as told."""
import gzip
import hashlib
import io
import struct
import tarfile
import threading
import time
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
from PIL import Image

from mnist_basics import data

PARTS = ("train/3", "train/7", "valid/3", "valid/7")


def png(value=0, size=(28, 28), mode="L"):
    stream = io.BytesIO()
    Image.new(mode, size, value).save(stream, format="PNG")
    return stream.getvalue()


def four_bit_png():
    """28×28 in grey, with four bits a pixel, which Pillow reads but does not write."""

    def chunk(kind, content):
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    header = struct.pack(">2I5B", 28, 28, 4, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(28 * 15))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def small_sample():
    """Three images in each folder, as a dictionary from name to content."""
    names = [f"{part}/{i}.png" for part in PARTS for i in (7, 10, 9)]
    return {name: png(10 * i + 1) for i, name in enumerate(names)} | {"labels.csv": b"name,label\n"}


def pretend_genuine(monkeypatch, files):
    """Let `files` be what the published fingerprints stand for; returns the digits."""
    digits = data._sample_from_files(files, "small sample")
    fingerprints = {}
    for part in PARTS:
        split, digit = part.split("/")
        x, y = getattr(digits, f"{split}_x"), getattr(digits, f"{split}_y")
        pixels = x[y == int(digit)].numpy()
        fingerprints[part] = (len(pixels), hashlib.sha256(pixels).hexdigest())
    monkeypatch.setattr(data, "SAMPLE", fingerprints)
    return digits


def archive(files, *members):
    """A `.tgz` of `files` below mnist_sample/, and of further `members` (TarInfo)."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"mnist_sample/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        for member in members:
            tar.addfile(member, io.BytesIO(b"x" * member.size))
    return stream.getvalue()


def write(files, folder):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def small_idx(monkeypatch, folder, zipped=True):
    """Four IDX files of 30 and 20 images in `folder`, which pass for MNIST's."""
    random = np.random.default_rng(0)
    md5 = {}
    for name, count in zip(data.IDX, (30, 30, 20, 20)):
        if "images" in name:
            content = struct.pack(">4I", 2051, count, 28, 28) + random.integers(0, 256, count * 784, np.uint8).tobytes()
        else:
            content = struct.pack(">2I", 2049, count) + (np.arange(count) % 10).astype(np.uint8).tobytes()
        md5[name] = hashlib.md5(content).hexdigest()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}{'.gz' if zipped else ''}").write_bytes(gzip.compress(content) if zipped else content)
    monkeypatch.setattr(data, "IDX", md5)
    return folder


class Server:
    """Answers each request as the next of `answers` says, the last one for ever: bytes, a status, or a behaviour."""

    def __init__(self, *answers):
        self.answers, self.requests = list(answers), []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.requests.append(self.path)
                answer = outer.answers.pop(0) if len(outer.answers) > 1 else outer.answers[0]
                outer.reply(self, answer[self.path.rsplit("/", 1)[1]] if isinstance(answer, dict) else answer)

            def log_message(self, *args):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_port}/"

    def reply(self, handler, answer):
        if isinstance(answer, int):
            handler.send_error(answer)
            return
        behaviour, content, *more = answer if isinstance(answer, tuple) else ("whole", answer)
        if behaviour == "redirect":
            handler.send_response(302)
            handler.send_header("Location", content)
            handler.end_headers()
            return
        if behaviour == "silent":
            time.sleep(60)
            return
        chunked = bool(more and more[0])
        handler.protocol_version = "HTTP/1.1" if chunked else "HTTP/1.0"
        handler.send_response(200)
        for name, value in (more[0] if chunked else {"Content-Length": str(len(content))}).items():
            handler.send_header(name, value)
        handler.end_headers()
        try:
            if behaviour == "slow":
                for part in (content[i : i + len(content) // 8 + 1] for i in range(0, len(content), len(content) // 8 + 1)):
                    handler.wfile.write(b"%x\r\n%s\r\n" % (len(part), part) if chunked else part)
                    time.sleep(0.4)
                handler.wfile.write(b"0\r\n\r\n" if chunked else b"")
                return
            handler.wfile.write(content if behaviour == "whole" else content[: len(content) // 2])
            if behaviour == "stalls":
                time.sleep(60)
            while behaviour == "trickles":
                handler.wfile.write(b"x")
                time.sleep(0.3)
        except OSError:
            pass  # the client has given up, as it should

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.http.shutdown()
        self.http.server_close()
