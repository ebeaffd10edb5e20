# SPDX-License-Identifier: MIT
"""Small ELF files, made by hand: for what no compiler here makes. They say things, and run nothing."""
import struct

X86_64, I386, ARM64, S390 = 62, 3, 183, 22
EXEC, DYN, REL, CORE = 2, 3, 1, 4
LOAD, DYNAMIC, INTERP, NOTE = 1, 2, 3, 4
NEEDED, STRTAB, FLAGS_1 = 1, 5, 0x6ffffffb
GO_NOTE = struct.pack("<III4s4s", 4, 4, 4, b"Go", b"ID")


def make(bits=64, big=False, machine=X86_64, type=DYN, loader=b"/lib64/ld-linux-x86-64.so.2",
         needed=(), imports=(), sections=(), note=b"", pie=True, dynamic=True):
    """One file, loaded as a whole at 0; its parts stand one behind the other."""
    end = ">" if big else "<"
    word = "I" if bits == 32 else "Q"
    size = bits // 8
    header, segment = (52, 32) if bits == 32 else (64, 56)
    names = b"\0"

    def name(text):
        nonlocal names
        names += text.encode() + b"\0"
        return len(names) - len(text) - 1

    needed_at = [name(n) for n in needed]
    import_at = [name(n) for n in imports]
    kinds = [("", 0)] + [(s, 1) for s in sections]
    if imports:
        kinds += [(".dynsym", 11)]
    kinds += [(".strings", 3)]
    section_at = [name(s) for s, _ in kinds]

    n_segments = 1 + bool(loader) + bool(note) + dynamic
    at = header + n_segments * segment
    parts, segments = b"", []

    def add(content):
        nonlocal parts
        parts += b"\0" * (-len(parts) % 8)
        parts += content
        return at + len(parts) - len(content)

    strings = add(names)
    if loader:
        segments.append((INTERP, add(loader + b"\0"), len(loader) + 1))
    if note:
        segments.append((NOTE, add(note), len(note)))
    if dynamic:
        tags = [(NEEDED, n) for n in needed_at] + [(STRTAB, strings)]
        tags += [(FLAGS_1, 0x08000000)] if pie else []
        content = b"".join(struct.pack(end + 2 * word, *t) for t in tags + [(0, 0)])
        segments.append((DYNAMIC, add(content), len(content)))
    symbols = b""
    for n in [0] + import_at:
        symbols += (struct.pack(end + "IIIBBH", n, 0, 0, 0, 0, 0) if bits == 32 else
                    struct.pack(end + "IBBHQQ", n, 0, 0, 0, 0, 0))
    symbols_at = add(symbols) if imports else 0
    table = b""
    for (_, kind), n in zip(kinds, section_at):
        where, length = {11: (symbols_at, len(symbols)), 3: (strings, len(names))}.get(kind, (0, 0))
        table += struct.pack(end + "II" + 4 * word + "II" + 2 * word, n, kind, 0, 0, where, length,
                             len(kinds) - 1, 0, 0, 0)
    table_at = add(table)
    segments.append((LOAD, 0, at + len(parts)))
    out = struct.pack("4sBBBB8x", b"\x7fELF", bits // 32, 2 if big else 1, 1, 0)
    out += struct.pack(end + "HHI" + 3 * word + "IHHHHHH", type, machine, 1, 0, header, table_at, 0,
                       header, segment, n_segments, len(table) // len(kinds), len(kinds),
                       len(kinds) - 1)
    for kind, offset, length in segments:
        out += (struct.pack(end + "8I", kind, offset, offset, offset, length, length, 4, 8)
                if bits == 32 else
                struct.pack(end + "II6Q", kind, 4, offset, offset, offset, length, length, 8))
    assert len(out) == at and size
    return out + parts
