"""CRC-32C (Castagnoli), the checksum of Cloud Storage, at about 100 MB/s with numpy alone.

The data is cut into lanes that numpy advances side by side, one table look-up a byte; the lanes are joined with the
linear map "append so many zero bytes", as zlib's crc32_combine does.
"""

from __future__ import annotations

import base64

__all__ = ["crc32c", "crc32c_base64"]

_POLYNOMIAL = 0x82F63B78
_SMALL = 1 << 14


def _make_table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return table


_TABLE = _make_table()


def crc32c(data: bytes) -> int:
    """The checksum as an unsigned number: `crc32c(b"123456789") == 0xE3069283`."""
    if len(data) < _SMALL:
        return _advance(0xFFFFFFFF, data) ^ 0xFFFFFFFF
    import numpy as np

    lanes = 1024 if len(data) < 1 << 21 else 8192
    width = len(data) // lanes
    columns = np.ascontiguousarray(np.frombuffer(data, np.uint8, lanes * width).reshape(lanes, width).T)
    table = np.array(_TABLE, np.uint32)
    registers = np.zeros(lanes, np.uint32)
    registers[0] = 0xFFFFFFFF
    for column in columns:
        registers = table[(registers ^ column) & 0xFF] ^ (registers >> 8)
    shift = _zeros_map(width)
    total = int(registers[0])
    for register in registers[1:].tolist():
        total = (
            shift[0][total & 0xFF]
            ^ shift[1][total >> 8 & 0xFF]
            ^ shift[2][total >> 16 & 0xFF]
            ^ shift[3][total >> 24]
            ^ register
        )
    return _advance(total, data[lanes * width :]) ^ 0xFFFFFFFF


def crc32c_base64(data: bytes) -> str:
    """The checksum as Cloud Storage writes it: big-endian bytes in base64."""
    return base64.b64encode(crc32c(data).to_bytes(4, "big")).decode()


def _advance(register: int, data: bytes) -> int:
    table = _TABLE
    for byte in data:
        register = table[(register ^ byte) & 0xFF] ^ (register >> 8)
    return register


def _zeros_map(count: int) -> list[list[int]]:
    """Four tables that together advance a register over `count` zero bytes."""
    power = [_TABLE[bit] if bit < 256 else bit >> 8 for bit in (1 << n for n in range(32))]  # one zero byte
    result = [1 << n for n in range(32)]
    while count:
        if count & 1:
            result = [_apply(power, column) for column in result]
        power = [_apply(power, column) for column in power]
        count >>= 1
    return [[_apply(result, value << 8 * byte) for value in range(256)] for byte in range(4)]


def _apply(matrix: list[int], vector: int) -> int:
    total = 0
    index = 0
    while vector:
        if vector & 1:
            total ^= matrix[index]
        vector >>= 1
        index += 1
    return total
