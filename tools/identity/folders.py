"""Fixtures as checkpoint folders, with the standard library alone.

A fixture holds a configuration and a recipe for its weights (see tools/fixtures/README.md); a
binary opens a folder with `config.json` and `model.safetensors`.
"""

import json
import struct
from array import array

MASK = 0xFFFFFFFFFFFFFFFF


def fnv1a64(data):
    """FNV-1a, 64 bits, of bytes."""
    state = 0xCBF29CE484222325
    for byte in data:
        state = (state ^ byte) * 0x100000001B3 & MASK
    return state


def stream(seed, name, count):
    """The first `count` outputs of splitmix64 from the state `seed ^ fnv1a64(name)`."""
    state = seed ^ fnv1a64(name.encode())
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & MASK
        z = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & MASK
        z = (z ^ z >> 27) * 0x94D049BB133111EB & MASK
        yield z ^ z >> 31


def elements(shape):
    """The number of elements of a tensor."""
    count = 1
    for extent in shape:
        count *= extent
    return count


def floats(seed, entry):
    """A tensor's float32 values as little-endian bytes.

    Python computes in float64 and the array rounds. A product of two float32 is exact in float64,
    and a sum of two rounds to the same float32 as if it had been rounded once.
    """
    scale, shift = array("f", [entry["scale"], entry["shift"]])
    numbers = stream(seed, entry["name"], elements(entry["shape"]))
    scaled = array("f", (((z >> 40) * 2.0**-23 - 1.0) * scale for z in numbers))
    values = array("f", (value + shift for value in scaled))
    return struct.pack(f"<{len(values)}f", *values)


def write(folder, config, seed, entries):
    """Writes `config.json` and `model.safetensors`; returns the weights' bytes."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    tensors = {entry["name"]: floats(seed, entry) for entry in entries}
    header, end = {}, 0
    for entry in entries:
        start, end = end, end + len(tensors[entry["name"]])
        header[entry["name"]] = {
            "dtype": "F32",
            "shape": entry["shape"],
            "data_offsets": [start, end],
        }
    header = json.dumps(header).encode()
    header += b" " * (-len(header) % 8)
    body = b"".join(tensors.values())
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + body)
    return body


def materialise(fixture, folder):
    """Writes a fixture's folder whole; returns its cases."""
    weights = json.loads((fixture / "weights.json").read_text())
    config = json.loads((fixture / "config.json").read_text())
    body = write(folder, config, weights["seed"], weights["tensors"])
    if fnv1a64(body) != weights["checksum"]:
        raise SystemExit(f"{fixture.name}: the weights are not those of its checksum")
    return json.loads((fixture / "cases.json").read_text())
