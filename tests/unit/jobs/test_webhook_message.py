"""Headers, signatures and pauses of webhooks."""

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from auricle.errors import InvalidOption
from auricle.jobs.webhook_message import (
    MAX_DELAY_S,
    check_webhook_headers,
    check_webhook_secret,
    message_headers,
    parse_retry_after,
    retry_delay_s,
    sign,
)

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def test_the_signature_is_that_of_the_standard() -> None:
    # The example of the specification's own library.
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    signature = sign("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}', secret)
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_receiver_with_the_secret_accepts_the_message_and_no_other() -> None:
    body = json.dumps({"text": "grüße"}).encode()
    headers = message_headers("1", body, secret=SECRET, now=datetime.now(UTC))
    assert Webhook(SECRET).verify(body, headers) == {"text": "grüße"}
    other = "whsec_" + base64.b64encode(b"x" * 32).decode()
    for secret, message, id_ in ((SECRET, body + b" ", "1"), (other, body, "1"), (SECRET, body, "2")):
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(message, headers | {"webhook-id": id_})


def test_without_a_secret_there_is_no_signature() -> None:
    assert message_headers("1", b"{}", secret=None, now=NOW) == {"webhook-id": "1", "webhook-timestamp": "1795176000"}


@pytest.mark.parametrize("size", [24, 32, 64])
def test_secrets_of_the_standard_are_taken(size: int) -> None:
    secret = "whsec_" + base64.b64encode(bytes(size)).decode()
    assert check_webhook_secret(secret) == secret


@pytest.mark.parametrize(
    "bad", ["", "geheimnis", "whsec_", "whsec_####", "whsec_" + "A" * 28, "whsec_" + "A" * 92, "whsec_ä"]
)
def test_other_secrets_are_refused_and_not_repeated(bad: str) -> None:
    with pytest.raises(InvalidOption, match="openssl rand") as caught:
        check_webhook_secret(bad, param="webhook.secret")
    assert caught.value.param == "webhook.secret"
    assert not bad.removeprefix("whsec_") or bad not in caught.value.message


def test_headers_of_the_caller_are_taken() -> None:
    given = {"Authorization": "Bearer abc", "X-Task": " 1 ", "Content-Type": "application/json"}
    assert check_webhook_headers(given) == {
        "authorization": "Bearer abc",
        "x-task": "1",
        "content-type": "application/json",
    }


@pytest.mark.parametrize(
    "name",
    [
        *("Host", "content-length", "Transfer-Encoding", "Connection", "Upgrade", "TE", "Expect"),
        *("Webhook-Signature", "webhook-id", "Proxy-Authorization", "", "a b", "a:b", "ä", "a\r\nb", "a" * 101),
    ],
)
def test_headers_of_the_connection_and_of_the_signature_are_refused(name: str) -> None:
    with pytest.raises(InvalidOption):
        check_webhook_headers({name: "x"})


@pytest.mark.parametrize("value", ["a\r\nHost: evil", "a\nb", "a\0", "ä", "\x7f"])
def test_values_that_could_end_a_header_are_refused(value: str) -> None:
    with pytest.raises(InvalidOption):
        check_webhook_headers({"x-task": value})


def test_too_many_headers_are_refused() -> None:
    with pytest.raises(InvalidOption, match="at most 32"):
        check_webhook_headers({f"x-{number}": "" for number in range(33)})
    with pytest.raises(InvalidOption, match="8192"):
        check_webhook_headers({"x": "a" * 8192})


def test_pauses_double_up_to_an_hour_and_are_spread_over_all_of_it() -> None:
    assert [retry_delay_s(attempts, 0.5) for attempts in (1, 2, 3, 10, 11, 1000)] == [2.5, 5, 10, 1280, 1800, 1800]
    assert retry_delay_s(5, 0.0) == 0
    assert retry_delay_s(5, 0.999) == pytest.approx(79.92)


def test_a_receiver_that_names_a_time_is_not_asked_before_it() -> None:
    assert retry_delay_s(1, 0.5, 120) == 120
    assert retry_delay_s(8, 0.5, 1) == 320
    assert retry_delay_s(1, 0.5, 1e9) == MAX_DELAY_S


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("120", 120),
        ("9" * 400, 999_999_999),
        ("-5", None),
        ("soon", None),
        ("1.5", None),
        ("Fri, 20 Nov 2026 12:01:00 GMT", 60),
        ("Fri, 20 Nov 2026 12:01:00 -0000", 60),
        ("Fri, 20 Nov 2026 11:00:00 GMT", 0),
        ("Fri, 99 Nov 2026 11:00:00 GMT", None),
    ],
)
def test_retry_after_is_a_number_or_a_date(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, NOW) == seconds


def test_a_day_has_room_for_some_dozen_tries() -> None:
    elapsed, attempts = timedelta(), 0
    while elapsed < timedelta(days=1):
        attempts += 1
        elapsed += timedelta(seconds=retry_delay_s(attempts, 0.5))
    assert 40 < attempts < 80
