"""Which addresses a secret may be sent to: https, or http to this machine itself.

Belongs here: judging an address. Does not belong here: speaking to it (`remote`).
"""

from __future__ import annotations

import ipaddress

import httpx

from sales_pipeline.errors import ConfigurationError


def safe_address(url: str) -> str:
    """The address without a slash at its end; ConfigurationError where a secret could leak."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        parsed = httpx.URL("")
    is_safe = parsed.scheme == "https" or (parsed.scheme == "http" and is_loopback(parsed.host))
    if not is_safe or not parsed.host or parsed.userinfo or parsed.query or parsed.fragment:
        shown = f"{parsed.scheme or '(no scheme)'}://{parsed.host or '(no host)'}"
        raise ConfigurationError(
            "this address is not safe to send to",
            expected="https://host/…, or http:// to this machine itself, without user, password, query or fragment",
            found=shown + (" with user or password" if parsed.userinfo else ""),
            fix="mend `url` under delivery.targets; a secret belongs into the environment or a token_file",
        )
    return str(parsed).rstrip("/")


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
