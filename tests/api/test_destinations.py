"""Where webhooks may lead, however it is spelled, and that nobody changes it in between."""

import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from ipaddress import ip_network

import pytest
from standardwebhooks.webhooks import Webhook

from api import destinations
from api.destinations import permitted, wrong
from api.posting import Poster, signature
from store.deliveries import Due, Outcome
from tests.api.receiver import Receiver, receiving

LOCAL = (ip_network("127.0.0.1/32"),)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

PRIVATE = [
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "192.0.0.8",
    "192.0.0.170",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:127.0.0.1",
    "64:ff9b::a00:1",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2001:10::1",
    "3fff::1",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
]
PUBLIC = ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "::ffff:1.1.1.1"]


@pytest.mark.parametrize("address", PRIVATE)
def test_no_address_that_is_not_public(address: str) -> None:
    assert not permitted(address)
    everywhere = (ip_network("0.0.0.0/0"), ip_network("::/0"))
    assert permitted(address, everywhere)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses(address: str) -> None:
    assert permitted(address)


def test_a_network_that_is_allowed_is_not_another() -> None:
    assert permitted("127.0.0.1", LOCAL)
    assert permitted("::ffff:127.0.0.1", LOCAL)
    assert not permitted("127.0.0.2", LOCAL)
    assert not permitted("::1", LOCAL)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hooks.example",
        "//hooks.example/",
        "ftp://hooks.example/",
        "file:///etc/passwd",
        "http://",
        "http://:80/",
        "http://hooks.example:99999/",
        "http://hooks.example:port/",
        "http://[::1/",
        "http://ada@hooks.example/",
        "http://ada:secret@hooks.example/",
        "http://:@hooks.example/",
        "http://hooks.example/#top",
        "http://hooks.example/a b",
        "http://hooks.example/\n",
        "http://hooks.exämple/",
        "http://1.1.1.1\\@hooks.example/",
        "http://hooks.example/" + "x" * 2000,
        "http://localhost/",
        "http://a.localhost:8000/",
        "http://127.0.0.1/",
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f.0.0.1/",
        "http://0177.0.0.1/",
        "http://[::1]:8000/",
        "http://[::ffff:127.0.0.1]/",
        "http://[fe80::1%25eth0]/",
        "https://169.254.169.254/latest/meta-data/",
    ],
)
def test_what_is_no_url_of_a_webhook(url: str) -> None:
    assert wrong(url, ())


@pytest.mark.parametrize(
    "url", ["https://hooks.example/a?b=c", "http://hooks.example:8080", "HTTPS://1.1.1.1/"]
)
def test_what_is_one(url: str) -> None:
    assert wrong(url, ()) is None


def test_one_that_the_operator_allows() -> None:
    assert wrong("http://127.0.0.1:8000/", LOCAL) is None
    assert wrong("http://localhost:8000/", LOCAL) is None
    told = wrong("http://127.0.0.2/", LOCAL)
    assert told is not None
    assert "STEPSIZE_WEBHOOKS_PRIVATE" in told


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as each:
        yield each


def due(url: str, *secrets: str) -> Due:
    return Due("msg_1", "whk_1", url, '{"type":"ping"}', 1, 1, secrets or (SECRET,))


def test_what_is_sent_is_verified_by_the_package_of_the_standard(receiver: Receiver) -> None:
    other = "whsec_" + "B" * 43 + "="
    outcome = Poster(LOCAL).post(due(receiver.url, other, SECRET))
    assert (outcome.status, outcome.error) == (204, None)
    (came,) = receiver.came
    assert came.path == "/hook?a=1"
    assert came.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert came.headers["content-type"] == "application/json"
    for each in (other, SECRET):
        assert Webhook(each).verify(came.body, came.headers) == {"type": "ping"}
    sent = datetime.fromtimestamp(int(came.headers["webhook-timestamp"]), UTC)
    assert came.headers["webhook-signature"].split()[1] == Webhook(SECRET).sign(
        "msg_1", sent, came.body.decode()
    )


def test_the_example_of_the_standard() -> None:
    body = '{"test": 2432232314}'
    assert (
        signature(SECRET, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
        == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )


def resolving(*answers: list[str]) -> tuple[destinations.Resolve, list[str]]:
    """A name server that answers so, one time after another, and what it was asked."""
    asked: list[str] = []

    def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        return answers[len(asked) - 1]

    return resolve, asked


def test_a_name_is_looked_up_once_and_what_was_checked_is_connected_to(receiver: Receiver) -> None:
    with receiving("127.0.0.2") as other:
        other.port = receiver.port
        resolve, asked = resolving(["127.0.0.1"], ["127.0.0.2"])
        poster = Poster(LOCAL, resolve=resolve)
        url = f"http://hooks.example:{receiver.port}/"
        assert poster.post(due(url)).status == 204
        assert asked == ["hooks.example"]
        assert receiver.came[0].headers["host"] == f"hooks.example:{receiver.port}"
        refused = poster.post(due(url))
        assert refused.status is None
        assert "hooks.example (127.0.0.2) is not a public address" in str(refused.error)
        assert len(receiver.came) == 1
        assert other.came == []


def test_one_bad_address_among_good_ones_is_enough(receiver: Receiver) -> None:
    resolve, _ = resolving(["127.0.0.1", "10.0.0.1"], ["10.0.0.1", "127.0.0.1"])
    for _ in range(2):
        outcome = Poster(LOCAL, resolve=resolve).post(due("http://hooks.example/"))
        assert "10.0.0.1" in str(outcome.error)
    assert receiver.came == []


def test_an_address_that_does_not_answer_is_not_the_last(receiver: Receiver) -> None:
    networks = (ip_network("127.0.0.0/8"),)
    resolve, _ = resolving(["127.0.0.3", "127.0.0.1"])
    url = f"http://hooks.example:{receiver.port}/"
    assert Poster(networks, resolve=resolve).post(due(url)).status == 204


def test_without_permission_nothing_is_sent(receiver: Receiver) -> None:
    for host in ("127.0.0.1", "localhost", "0x7f.1"):
        outcome = Poster(()).post(due(f"http://{host}:{receiver.port}/"))
        assert "STEPSIZE_WEBHOOKS_PRIVATE" in str(outcome.error)
    assert receiver.came == []


def test_a_name_without_an_address() -> None:
    outcome = Poster(()).post(due("http://nowhere.invalid/"))
    assert str(outcome.error).startswith("nowhere.invalid has no address")
    assert Poster(()).post(due(f"http://{'x' * 99}.example/")).error


def test_a_redirect_is_not_followed(receiver: Receiver) -> None:
    with receiving() as other:
        receiver.status, receiver.location = 302, other.url
        outcome = Poster(LOCAL).post(due(receiver.url))
        assert outcome.error == (
            "302 Found: redirects are not followed, give the webhook the new url"
        )
        assert other.came == []


@pytest.mark.parametrize(
    ("status", "content", "error"),
    [
        (500, b"", "500 Internal Server Error"),
        (400, b"no\x00\n such \xff thing" + b"x" * 999, "400 Bad Request: no   such � thingx"),
        (799, b"", "799"),
        (410, b"", "410 Gone"),
    ],
)
def test_what_was_answered_is_said(
    receiver: Receiver, status: int, content: bytes, error: str
) -> None:
    receiver.status, receiver.content = status, content
    outcome = Poster(LOCAL).post(due(receiver.url))
    assert outcome.status == status
    assert str(outcome.error).startswith(error)
    assert len(str(outcome.error)) < 250
    assert outcome.gone == (status == 410)


def drip(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"HTTP/1.1 200 OK\r\nX: y"[:1])
        time.sleep(0.02)


def silent(connection: socket.socket) -> None:
    connection.recv(1)


def endless(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        connection.sendall(b"x" * 4096)


def dripping_body(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        connection.sendall(b"x")
        time.sleep(0.02)


def hung_up(connection: socket.socket) -> None:
    connection.close()


def nonsense(connection: socket.socket) -> None:
    connection.sendall(b"SSH-2.0-OpenSSH\r\n\r\n")


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (drip, None),
        (silent, None),
        (endless, 200),
        (dripping_body, 200),
        (hung_up, None),
        (nonsense, None),
    ],
)
def test_no_endpoint_holds_a_sender(
    receiver: Receiver, raw: "type[None]", status: int | None
) -> None:
    receiver.raw = raw
    began = time.monotonic()
    outcome: Outcome = Poster(LOCAL, timeout=0.3).post(due(receiver.url))
    assert time.monotonic() - began < 5
    assert outcome.status == status
    assert (outcome.error is None) == (status == 200)


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    outcome = Poster(LOCAL).post(due(f"http://127.0.0.1:{port}/"))
    assert outcome.status is None
    assert "refused" in str(outcome.error)
