"""What is checked of a webhook before a job is accepted, so that its client learns of it at once."""

from dataclasses import replace

from auricle.job_types import WebhookTarget
from auricle.jobs.webhook_message import check_webhook_headers, check_webhook_secret
from auricle.net.addresses import Allowlist
from auricle.net.urls import HTTP_SCHEMES, check_url


def check_webhook(target: WebhookTarget, allow: Allowlist) -> WebhookTarget:
    """The target with its headers in small letters. Raises InvalidOption or ForbiddenUrl; nothing is looked up."""
    check_url(target.url, allow, schemes=HTTP_SCHEMES, param="webhook.url")
    headers = check_webhook_headers(target.headers, param="webhook.headers")
    if target.secret is not None:
        check_webhook_secret(target.secret, param="webhook.secret")
    return replace(target, headers=headers)
