import pytest
from sqlalchemy.engine import make_url

from service.config import Config
from service.webhooks.headers import read_headers, write_headers
from service.webhooks.vault import Unreadable, Vault, vault_of

OLD, NEW, OTHER = "an old key of the tests", "a new key of the tests", "a key of somebody else"

# Written down when this way of sealing was new: a change of label or derivation would lose every secret there is.
SEALED_ONCE = "v1:gAAAAABrB7tOrZ-8uqwIvmaXmKZtB8G3OHz8ovtYR9kGO88Jys7h0_bgQZ-qFJr-74FNGP1Kb5ZqdIERRupCtQTkiNKUItpQGA=="


def config(**keys):
    return Config(make_url("postgresql://h/d"), "redis://h", **{"secret_key": "s" * 32, **keys})


def test_what_was_sealed_can_be_opened_and_not_be_read():
    sealed = Vault(NEW).seal("whsec_geheim")
    assert sealed.startswith("v1:")
    assert "geheim" not in sealed
    assert Vault(NEW).open(sealed) == "whsec_geheim"


def test_what_an_earlier_build_sealed_is_still_read():
    assert Vault("a key for all time, of the tests").open(SEALED_ONCE) == "whsec_kept"


def test_the_same_text_twice_makes_two_values():
    assert Vault(NEW).seal("x") != Vault(NEW).seal("x")


def test_a_secret_of_an_earlier_release_is_read_as_it_is():
    assert Vault(NEW).open("whsec_in_clear") == "whsec_in_clear"
    assert Vault(NEW).open(Vault(NEW).reseal("whsec_in_clear")) == "whsec_in_clear"


def test_an_earlier_key_opens_but_no_longer_seals():
    vault = Vault(NEW, OLD)
    assert vault.open(Vault(OLD).seal("x")) == "x"
    assert Vault(NEW).open(vault.seal("x")) == "x"
    assert Vault(NEW).open(vault.reseal(Vault(OLD).seal("x"))) == "x"


@pytest.mark.parametrize("value", [Vault(OTHER).seal("x"), "v1:", "v1:x", "v2:x", "x", "", "v1:\u00fc"])
def test_what_no_key_opens_is_refused_and_never_guessed_at(value):
    with pytest.raises(Unreadable):
        Vault(NEW, OLD).open(value)


def test_a_value_that_was_changed_is_refused():
    sealed = Vault(NEW).seal("x")
    changed = sealed[:20] + ("A" if sealed[20] != "A" else "B") + sealed[21:]
    with pytest.raises(Unreadable):
        Vault(NEW).open(changed)


def test_bytes_come_back_as_they_were():
    every = bytes(range(256))
    assert Vault(NEW).open_bytes(Vault(NEW).seal_bytes(every)) == every


def test_without_a_key_of_its_own_the_secret_key_seals():
    assert vault_of(config()).open(Vault("s" * 32).seal("x")) == "x"
    assert Vault("s" * 32).open(vault_of(config()).seal("x")) == "x"
    assert vault_of(config(secret_key_previous="p" * 32)).open(Vault("p" * 32).seal("x")) == "x"


def test_a_key_of_its_own_seals_and_what_the_secret_key_sealed_before_is_still_read():
    vault = vault_of(config(encryption_key="e" * 32, encryption_key_previous="f" * 32))
    assert Vault("e" * 32).open(vault.seal("x")) == "x"
    for key in ("e" * 32, "f" * 32, "s" * 32):
        assert vault.open(Vault(key).seal("x")) == "x"


def test_a_vault_shows_no_key():
    assert NEW not in repr(Vault(NEW))
    assert "e" * 32 not in repr(config(encryption_key="e" * 32, encryption_key_previous="e" * 32 + "f"))


def test_headers_come_back_as_they_were_and_none_is_none():
    vault = Vault(NEW)
    assert read_headers(write_headers({"X-Token": "a b"}, vault), vault) == {"X-Token": "a b"}
    assert write_headers({}, vault) is write_headers(None, vault) is None
    assert read_headers(None, vault) == {}
