"""A file that is followed while another process adds to it."""

from __future__ import annotations

from pathlib import Path

from hpsearch.growing_file import GrowingFile


class Log:
    """A file in a folder, and whether somebody still writes to it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "a.log"
        self.grows = True

    def follow(self, position: int = 0) -> GrowingFile:
        return GrowingFile(lambda: self.path.open("rb"), lambda: self.grows, position)

    def add(self, text: str) -> None:
        with self.path.open("a") as file:
            file.write(text)


def test_a_file_is_followed_to_its_end(tmp_path: Path) -> None:
    log = Log(tmp_path)
    file = log.follow()
    assert file.next() == b""  # there is none yet
    log.add("one\n")
    assert [file.next(), file.next()] == [b"one\n", b""]
    log.add("two\n")
    log.grows = False
    assert [file.next(), file.next()] == [b"two\n", None]


def test_nothing_is_missed_that_is_written_before_the_end(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.add("one\n")

    def ends_now() -> bool:
        log.add("two\n")
        return False

    file = GrowingFile(lambda: log.path.open("rb"), ends_now)
    assert [file.next(), file.next()] == [b"one\ntwo\n", None]


def test_it_is_read_from_a_position_in_chunks(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.add("x" * 150_000)
    log.grows = False
    file, sizes = log.follow(position=1000), []
    while chunk := file.next():
        sizes.append(len(chunk))
    assert (sum(sizes), len(sizes)) == (149_000, 3)


def test_a_file_that_was_cut_off_is_followed_from_its_new_end(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.add("a long line\n")
    file = log.follow()
    assert file.next() == b"a long line\n"
    log.path.write_text("short\n")
    assert file.next() == b""
    log.add("more\n")
    assert file.next() == b"more\n"
