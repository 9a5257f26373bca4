"""API keys from a mounted Secret."""

import asyncio
import os
from pathlib import Path

import pytest
from slipway_runtime.guard import keys as module
from slipway_runtime.guard.keys import AT_ONCE, MOST_KEYS, Keys


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Secret:
    """A Secret as the kubelet mounts it: files are links into a folder behind a link, which is replaced atomically."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.generation = 0

    def write(self, **keys: str) -> None:
        self.generation += 1
        data = self.folder / f"..2026_{self.generation}"
        data.mkdir(parents=True)
        for owner, key in keys.items():
            (data / owner).write_text(key)
        (self.folder / "..new").symlink_to(data.name)
        (self.folder / "..new").replace(self.folder / "..data")
        for entry in self.folder.iterdir():
            if not entry.name.startswith("..") and entry.name not in keys:
                entry.unlink()
        for owner in keys:
            if not (self.folder / owner).is_symlink():
                (self.folder / owner).symlink_to(Path("..data") / owner)


@pytest.fixture
def secret(tmp_path: Path) -> Secret:
    secret = Secret(tmp_path / "keys")
    secret.write(alice="key-of-alice", bob="key-of-bob-1\nkey-of-bob-2\n")
    return secret


def test_a_key_has_an_owner(secret: Secret, clock: Clock) -> None:
    assert Keys(secret.folder, clock).owner(b"key-of-alice") == "alice"


def test_an_owner_can_have_several_keys(secret: Secret, clock: Clock) -> None:
    keys = Keys(secret.folder, clock)
    assert keys.owner(b"key-of-bob-1") == keys.owner(b"key-of-bob-2") == "bob"


@pytest.mark.parametrize(
    "key", [b"", b"key", b"key-of-alic", b"key of-alice", b"key-of-alicf", b"alice", b"k" * 10_000, b"\x80" * 9]
)
def test_any_other_string_has_no_owner(secret: Secret, clock: Clock, key: bytes) -> None:
    assert Keys(secret.folder, clock).owner(key) is None


def test_a_new_key_is_valid_a_second_later_and_an_old_one_no_longer(secret: Secret, clock: Clock) -> None:
    keys = Keys(secret.folder, clock)
    secret.write(alice="new-key-of-alice", carol="key-of-carol")
    clock.now += 1
    assert keys.owner(b"new-key-of-alice") == "alice"
    assert keys.owner(b"key-of-carol") == "carol"
    assert keys.owner(b"key-of-alice") is None
    assert keys.owner(b"key-of-bob-1") is None


def test_within_a_second_the_folder_is_not_read_again(secret: Secret, clock: Clock) -> None:
    keys = Keys(secret.folder, clock)
    secret.write(alice="new-key-of-alice")
    clock.now += 0.5
    assert keys.owner(b"key-of-alice") == "alice"


def test_a_secret_without_keys_admits_no_client(secret: Secret, clock: Clock) -> None:
    keys = Keys(secret.folder, clock)
    secret.write()
    clock.now += 1
    assert keys.owner(b"key-of-alice") is None


def test_without_the_folder_no_client_is_admitted(tmp_path: Path, clock: Clock) -> None:
    assert Keys(tmp_path / "missing", clock).owner(b"key-of-alice") is None


def test_keys_that_cannot_be_read_for_a_moment_stay_valid(secret: Secret, clock: Clock) -> None:
    keys = Keys(secret.folder, clock)
    secret.folder.rename(secret.folder.with_name("gone"))
    clock.now += 1
    assert keys.owner(b"key-of-alice") == "alice"


def test_a_key_that_could_be_guessed_is_ignored(secret: Secret, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    secret.write(dave="short")
    assert Keys(secret.folder, clock).owner(b"short") is None
    assert "A key of dave is ignored" in caplog.text


def test_keys_beyond_the_limit_are_ignored_and_logged(
    secret: Secret, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    secret.write(a="\n".join(f"key-{number:05}" for number in range(MOST_KEYS)), b="one-too-many")
    keys = Keys(secret.folder, clock)
    assert keys.owner(b"key-%05d" % (MOST_KEYS - 1)) == "a"
    assert keys.owner(b"one-too-many") is None
    assert "which are ignored" in caplog.text


def test_no_key_is_stored_in_plain_text(secret: Secret, clock: Clock) -> None:
    assert "key-of-alice" not in repr(vars(Keys(secret.folder, clock)))


# --- the cost of a check ---------------------------------------------------------------------------------------------


def test_checking_a_mounted_secret_reads_only_its_link(
    secret: Secret, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = Keys(secret.folder, clock)
    monkeypatch.setattr(module, "_files", lambda folder: pytest.fail("It read the files."))
    clock.now += 1
    assert keys.owner(b"key-of-alice") == "alice"


def test_a_key_is_valid_though_its_name_next_to_the_link_appears_later(secret: Secret, clock: Clock) -> None:
    keys = Keys(secret.folder, clock)
    secret.write(carol="key-of-carol")
    (secret.folder / "carol").unlink()
    clock.now += 1
    assert keys.owner(b"key-of-carol") == "carol"


def test_a_folder_that_is_not_a_volume_is_checked_by_its_files(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "alice").write_text("key-of-alice")
    (tmp_path / "nowhere").symlink_to("missing")
    keys = Keys(tmp_path, clock)
    (tmp_path / "alice").write_text("new-key-of-alice")
    os.utime(tmp_path / "alice", (1, 1))
    clock.now += 1
    assert keys.owner(b"new-key-of-alice") == "alice"
    assert keys.owner(b"key-of-alice") is None


@pytest.mark.parametrize("is_mounted", [True, False])
async def test_many_keys_are_read_in_steps_while_the_previous_ones_stay_valid(
    secret: Secret, tmp_path: Path, clock: Clock, is_mounted: bool
) -> None:
    folder = secret.folder if is_mounted else tmp_path / "plain"
    folder.mkdir(exist_ok=True)
    (folder / "alice").write_text("key-of-alice")
    keys = Keys(folder, clock)
    many = {f"owner-{number}": f"new-key-{number:04}" for number in range(MOST_KEYS)}
    if is_mounted:
        secret.write(**many)
    else:
        (folder / "alice").unlink()
        for owner, key in many.items():
            (folder / owner).write_text(key)
    clock.now += 1
    steps = 0
    while (
        keys.check(b"new-key-0999", client=f"client {steps}")[0] is None
    ):  # each time another client: none exceeds its guesses
        assert keys.check(b"key-of-alice", client="alice") == ("alice", 0)
        await asyncio.sleep(0)
        steps += 1
    assert steps >= 2 * MOST_KEYS // AT_ONCE  # half of them to check, half of them to read
    assert keys.owner(b"key-of-alice") is None
