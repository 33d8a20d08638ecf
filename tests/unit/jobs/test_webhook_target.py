"""Webhooks that are refused before a job is accepted."""

import pytest

from auricle.errors import ForbiddenUrl, InputError, InvalidOption
from auricle.job_types import WebhookTarget
from auricle.jobs.webhook_target import check_webhook
from auricle.net.addresses import Allowlist

URL = "https://hooks.example/a"


def test_a_good_webhook_passes() -> None:
    target = WebhookTarget(url=URL, headers={"X-Task": "1"}, secret="whsec_" + "A" * 32)
    checked = check_webhook(target, Allowlist())
    assert (checked.url, checked.headers, checked.secret) == (URL, {"x-task": "1"}, target.secret)


@pytest.mark.parametrize(
    ("target", "kind", "param"),
    [
        (WebhookTarget(url="http://10.0.0.1/"), ForbiddenUrl, "webhook.url"),
        (WebhookTarget(url="data:,x"), ForbiddenUrl, "webhook.url"),
        (WebhookTarget(url="hooks.example"), InvalidOption, "webhook.url"),
        (WebhookTarget(url=URL, headers={"Host": "a"}), InvalidOption, "webhook.headers"),
        (WebhookTarget(url=URL, secret="short"), InvalidOption, "webhook.secret"),
    ],
)
def test_a_bad_webhook_is_refused_with_the_field_at_fault(
    target: WebhookTarget, kind: type[InputError], param: str
) -> None:
    with pytest.raises(kind) as caught:
        check_webhook(target, Allowlist())
    assert caught.value.param == param
