"""The address of A2Billing's database, as operators get it wrong; what is said of it never tells the password."""

from __future__ import annotations

import time

import pytest
from sqlalchemy.engine import make_url

from service.a2billing.source import CARDS, Source
from service.access.keys import create_client
from service.errors import Unavailable


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("sqlite:///x", "must be named as in mysql://"),
        ("mysql://root:s3cret@127.0.0.1", "must be named as in mysql://"),
        ("nonsense s3cret", "cannot be read"),
        ("mysql://root:s3cret@127.0.0.1:x/y", "cannot be read"),
        ("mysql://root:s3cret@127.0.0.1:1/a2b", "the A2Billing database cannot be read"),
        ("postgres://postgres:s3cret@127.0.0.1:1/a2b", "the A2Billing database cannot be read"),
        ("mysql://root:s3cret@127.0.0.1:1/a2b?never_heard=1", "option that is not known"),
        ("postgres://root:s3cret@127.0.0.1:1/a2b?plugin=nothing", "option that is not known"),
        ("mysql://root:s3cret@127.0.0.1:1/a2b?charset=foo", "a value it can't have"),
        ("mysql://root:s3cret@127.0.0.1:1/a2b?connect_timeout=abc", "a value it can't have"),
        ("mysql://root:s3cret@127.0.0.1:1/a2b?client_flag=s3cret", "a value it can't have"),
        ("mysql://root:s3cret@127.0.0.1:1/a2b?ssl_ca=/s3cret", "a value it can't have"),
        ("mysql://root:a@s3cret@127.0.0.1/a2b", "percent-encode the password"),
        ("mysql://root:a@s3cret/b@127.0.0.1/a2b", "percent-encode the password"),
        ("postgres://root:a@b/s3cret@127.0.0.1/a2b", "percent-encode the password"),
        ("postgres://root:a@b/s3cret/c", "percent-encode the password"),
    ],
)
def test_an_address_that_leads_nowhere_is_said_in_a_sentence_without_the_password(app, engine, address, sentence):
    create_client(engine, f"for {address}"[:99])
    done = app.test_cli_runner().invoke(args=["import", "a2billing", address, f"for {address}"[:99]])
    assert (done.exit_code, sentence in done.output) == (1, True), done.output
    assert "s3cret" not in done.output
    assert "Traceback" not in done.output


def test_a_wrong_password_is_not_repeated(postgres, app, engine, mariadb_url):
    name = f"client {time.time_ns()}"
    create_client(engine, name)
    for address in ("postgres://nobody:s3cret@{}/x", "mysql://nobody:s3cret@{}/x"):
        host = (postgres.url if "postgres" in address else mariadb_url).rpartition("@")[2].split("/")[0]
        done = app.test_cli_runner().invoke(args=["import", "a2billing", address.format(host), name])
        assert done.exit_code == 1
        assert "s3cret" not in done.output


def test_a_password_that_the_server_repeats_is_taken_out(postgres):
    address = make_url(postgres.url).set(password="s3cret").update_query_dict({"options": "-c s3cret=1"})
    with pytest.raises(Unavailable, match=r"\*\*\*") as said:
        Source.open(address.render_as_string(hide_password=False))
    assert "s3cret" not in str(said.value)


@pytest.mark.parametrize("password", ["mật khẩu", "é", "p@ss/w:rd?#%"])
def test_a_password_of_any_letters_opens_mysql(mysql, password):
    user = f"reader{time.time_ns()}"
    address = make_url(mysql.url).set(username=user, password=password).render_as_string(hide_password=False)
    mysql.run(f"CREATE USER {user}@'%' IDENTIFIED BY :password", password=password)
    try:
        mysql.run(f"GRANT SELECT ON *.* TO {user}@'%'")
        source = Source.open(address)
        assert source.bounds(CARDS) == (0, 0)
        source.close()
        with pytest.raises(Unavailable):
            Source.open(address.replace(f"{user}:", f"{user}:x"))
    finally:
        mysql.run(f"DROP USER {user}@'%'")
