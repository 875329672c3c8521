"""Bits and numbers as HEVC (ITU-T H.265, 9.2) and BPG write them, most significant bit first."""

from __future__ import annotations


class DamagedBits(ValueError):
    """The data ends too early or holds a code that is not allowed."""


class BitWriter:
    """Collects bits."""

    def __init__(self) -> None:
        self._value = 0
        self._count = 0

    def u(self, bits: int, value: int) -> None:
        """u(n): an unsigned number of ``bits`` bits."""
        self._value = self._value << bits | value
        self._count += bits

    def ue(self, value: int) -> None:
        """ue(v): unsigned Exp-Golomb code of order 0."""
        length = (value + 1).bit_length()
        self.u(2 * length - 1, value + 1)

    def aligned(self, stop_bit: bool) -> bytes:
        """Everything so far, then zeros up to a whole byte; a 1 before them if ``stop_bit`` (the RBSP trailing bits of HEVC)."""
        if stop_bit:
            self.u(1, 1)
        self.u(-self._count % 8, 0)
        return self._value.to_bytes(self._count // 8, "big")


class BitReader:
    """Reads what `BitWriter` writes."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def u(self, bits: int) -> int:
        if bits > self._left:
            raise DamagedBits("it ends too early")
        self._left -= bits
        return self._value >> self._left & ((1 << bits) - 1)

    def flag(self) -> bool:
        return bool(self.u(1))

    def ue(self, largest: int = 2**32 - 2) -> int:
        """An Exp-Golomb number of at most ``largest``."""
        zeros = 0
        while not self.u(1):
            zeros += 1
            if zeros > 31:
                raise DamagedBits("a number is too large")
        value = (1 << zeros) - 1 + self.u(zeros)
        if value > largest:
            raise DamagedBits(f"a field is {value}, at most {largest} is allowed")
        return value

    def rest(self) -> int:
        """Value of all bits that are left."""
        return self.u(self._left)


def ue7(value: int) -> bytes:
    """ue7(32) of the BPG specification: 7 bits a byte, the highest first, bit 7 set in all bytes but the last."""
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(value & 0x7F | 0x80)
    return bytes(reversed(groups))


def read_ue7(data: bytes, position: int) -> tuple[int, int]:
    """The number at ``position`` and the position after it. Only the shortest code is allowed."""
    value = 0
    for index in range(position, position + 5):
        if index >= len(data):
            raise DamagedBits("it ends too early")
        if index == position and data[index] == 0x80:
            break
        value = value << 7 | data[index] & 0x7F
        if data[index] < 0x80:
            if value >= 2**32:
                break
            return value, index + 1
    raise DamagedBits("a number is written in a way that is not allowed")
