"""`lockwatch doctor` on options, variables and files: each finding is provoked, and is gone where nothing is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lockwatch.diagnosis.settings import is_weak
from tests.operators.patients import FASTAPI, FLASK, PASSWORD, STRONG, Check, codes, only


def test_nothing_is_wrong_with_a_plain_application(check: Check) -> None:
    told = check()
    assert (told["status"], told["findings"]) == ("ok", [])
    assert [area["name"] for area in told["areas"]] == ["configuration", "store", "proxies", "workers", "webhooks", "routes"]
    assert check(source=FLASK)["findings"] == []
    assert check(source=None, strict=True)["findings"] == []


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ('secret_key="change-me-to-32-random-characters"', "secret.weak"),
        ('secret_key="0123456789abcdef0123456789abcdef"', "secret.weak"),
        (f'secret_key=("{STRONG}", "aaaaaaaaaaaaaaaaaaaaaaaa")', "secret.weak"),
        ('jwt_secret="at least thirty-two bytes of your own"', "secret.weak"),
        ('jwt=JWTConfig(jwt_secret="my-super-secret-key-for-production")', "secret.weak"),
        ('mode="off"', "configuration.off"),
        ('mode="observe"', "configuration.observe"),
        ("jwt=JWTConfig()", "keys.temporary"),
        ("anomaly=AnomalyConfig()", "webhooks.nobody"),
        ('webhook_urls=["https://hooks.example.com/x"]', "webhooks.unsigned"),
        ('webhook_urls=["http://127.0.0.1:9/x"], allow_private_webhooks=True', "webhooks.private"),
        ("workers=4", "workers.memory"),
        (f'jwt_secret="{STRONG}"', "sessions.memory"),
    ],
)
def test_an_option_is_found(check: Check, options: str, code: str) -> None:
    assert code not in codes(check())
    found = only(check(options), code)
    assert "thirty-two" not in json.dumps(found)


def test_a_secret_from_the_environment_is_named_by_its_variable(check: Check) -> None:
    found = only(check(LOCKWATCH_SECRET_KEY="change-me-to-32-random-characters"), "secret.weak")
    assert found["where"] == "secret_key (LOCKWATCH_SECRET_KEY)"
    assert found["change"].startswith("export LOCKWATCH_SECRET_KEY=$(python -c ")


@pytest.mark.parametrize(
    "secret", [STRONG, "7f3c9a1e5b8d2046", b"\x8f\x11-\xfe" * 2 + b"\x00\x93ab7/+d9\x81\x17\x02=", "correct horse battery staple"]
)
def test_a_good_secret_is_none_of_those(secret: str | bytes) -> None:
    assert not is_weak(secret)


@pytest.mark.parametrize("secret", ["a" * 40, "abcd-efgh" * 4, "password-password", "Example-of-a-key-7f3c9a1e5b8d2046", b"0" * 32])
def test_a_pattern_is_weak(secret: str | bytes) -> None:
    assert is_weak(secret)


def test_debug_is_found_in_both_frameworks(check: Check) -> None:
    assert only(check(more="app.debug = True"), "configuration.debug")["change"] == "FastAPI(debug=False)"
    assert only(check(more="app.debug = True", source=FLASK), "configuration.debug")["change"] == "FLASK_DEBUG=0"


def test_the_variable_of_flask_for_debug_is_read(check: Check) -> None:
    assert codes(check(source=FLASK, FLASK_DEBUG="0")) == []
    assert codes(check(FLASK_DEBUG="1")) == []
    only(check(source=FLASK, FLASK_DEBUG="1"), "configuration.debug")


def test_what_only_code_can_say_is_read_from_no_variable(check: Check) -> None:
    assert only(check(LOCKWATCH_TENANT="acme"), "configuration.unknown")["where"] == "environment: LOCKWATCH_TENANT"


@pytest.mark.parametrize("source", [FASTAPI, None], ids=["application", "environment"])
def test_variables_that_nothing_reads(check: Check, source: str | None) -> None:
    told = check(source=source, LOCKWATCH_REDIS_ULR="redis://localhost", REDIS_URL=f"redis://:{PASSWORD}@localhost")
    assert only(told, "configuration.unknown")["change"] == "LOCKWATCH_REDIS_URL=..."
    assert only(told, "configuration.unread")["change"] == "LOCKWATCH_REDIS_URL=$REDIS_URL"


def test_settings_that_contradict_themselves_are_the_only_finding(check: Check) -> None:
    told = check(source=None, LOCKWATCH_MODE="enfroce")
    assert codes(told) == ["configuration.invalid"]
    assert "'enforce'" in told["findings"][0]["what"]
    told = check(source=None, LOCKWATCH_WEBHOOK_URLS=f"http://user:{PASSWORD}@10.0.0.1/hook")
    assert codes(told) == ["configuration.invalid"]


@pytest.mark.parametrize(
    ("variable", "value", "code"),
    [
        ("FORWARDED_ALLOW_IPS", "*", "proxies.everyone"),
        ("GUNICORN_CMD_ARGS", "--workers 2 --forwarded-allow-ips='*'", "proxies.everyone"),
        ("WEB_CONCURRENCY", "4", "workers.memory"),
        ("UVICORN_WORKERS", "2", "workers.memory"),
        ("GUNICORN_CMD_ARGS", "-w 3", "workers.memory"),
        ("DYNO", "web.1", "proxies.untrusted"),
        ("KUBERNETES_SERVICE_HOST", "10.0.0.1", "proxies.untrusted"),
    ],
)
def test_a_variable_of_the_server_is_found(check: Check, variable: str, value: str, code: str) -> None:
    assert codes(check()) == []
    found = only(check(**{variable: value}), code)
    assert found["where"] == f"environment: {variable}"


@pytest.mark.parametrize(
    ("file", "text", "code"),
    [
        ("gunicorn.conf.py", "workers = 4\n", "workers.memory"),
        ("gunicorn.conf.py", "import multiprocessing\nworkers = multiprocessing.cpu_count() * 2 + 1\n", "workers.memory"),
        ("gunicorn.conf.py", 'forwarded_allow_ips = "*"\n', "proxies.everyone"),
        ("Procfile", "web: gunicorn -w 4 -k uvicorn.workers.UvicornWorker main:app\n", "workers.memory"),
        ("Procfile", "web: uvicorn main:app --forwarded-allow-ips '*'\n", "proxies.everyone"),
    ],
)
def test_a_file_of_the_server_is_read_and_not_run(check: Check, bare_place: Path, file: str, text: str, code: str) -> None:
    (bare_place / file).write_text(f"{text}raise_an_error_if_run()\n" if file.endswith(".py") else text)
    only(check(), code)
    (bare_place / file).write_text("workers = 1\n" if file.endswith(".py") else "web: uvicorn main:app\nworker: celery -w 9\n")
    assert codes(check()) == []


def test_a_trusted_proxy_answers_the_platform(check: Check) -> None:
    assert codes(check("trusted_proxies=1", DYNO="web.1")) == []
    told = check("trusted_proxies=['10.0.0.0/8']", FORWARDED_ALLOW_IPS="10.0.0.1")
    assert codes(told) == ["proxies.twice"]


def test_uvicorn_and_trusted_networks_are_two_that_take_the_address(check: Check, bare_place: Path) -> None:
    (bare_place / "Procfile").write_text("web: uvicorn main:app --proxy-headers --port 80\n")
    assert only(check("trusted_proxies=['10.0.0.0/8']"), "proxies.twice")["where"] == "Procfile: web"
    assert codes(check("trusted_proxies=1")) == []  # hops are counted in the header, which uvicorn leaves as it is
    (bare_place / "Procfile").write_text("web: uvicorn main:app --no-proxy-headers\n")
    assert codes(check("trusted_proxies=['10.0.0.0/8']")) == []


def test_proxy_fix_and_trusted_proxies_are_two_that_take_the_address(check: Check) -> None:
    fix = "from werkzeug.middleware.proxy_fix import ProxyFix\napp.wsgi_app = ProxyFix(app.wsgi_app)"
    assert only(check("trusted_proxies=1", source=FLASK, more=fix), "proxies.twice")["where"] == "ProxyFix"
    assert codes(check(source=FLASK, more=fix)) == []
