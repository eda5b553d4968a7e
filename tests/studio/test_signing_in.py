"""Signing in, and what happens to a person whose session ends."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect
from sqlalchemy import update

from serve.gateway.limits import WRONG_KEYS_PER_CLIENT, SignInLimiter
from serve.storage.access.sessions import IDLE
from serve.storage.records import utc_now
from serve.storage.schema.tables import sessions
from tests.studio import pictures
from tests.studio.browser import PHONE_PX
from tests.studio.conftest import Axe, OpenPage
from tests.studio.service import Service

SIGNED_OUT = "status of 401"
FILES = ("images", "thumbs")


@pytest.fixture(autouse=True)
def fresh_limit(service: Service) -> None:
    """Let each test try to sign in as often as the first one."""
    service.services.sign_in_limiter = SignInLimiter(knows_clients=True)


async def sign_in(page: Page, key: str) -> None:
    await page.get_by_label("API key").fill(key)
    await page.keyboard.press("Enter")


async def test_a_valid_key_leads_to_where_the_person_was_going(
    service: Service, page_of: OpenPage
) -> None:
    key = service.new_key("read", "create")
    page = await page_of(service, "/studio?prompt=a+blue+ring", allows=SIGNED_OUT)
    await sign_in(page, "csk_wrong")
    await expect(page.get_by_text("This key is not valid.").first).to_be_visible()
    await expect(page.get_by_label("API key")).to_be_focused()
    await sign_in(page, key)
    await expect(page.get_by_role("textbox", name="Prompt")).to_have_value("a blue ring")


async def test_too_many_tries_say_when_the_next_one_is_allowed(
    service: Service, page_of: OpenPage
) -> None:
    service.new_key("read")
    page = await page_of(service, allows="status of 4(01|29)")
    await expect(page.get_by_label("API key")).to_be_focused()
    for _ in range(WRONG_KEYS_PER_CLIENT):
        service.services.sign_in_limiter.take(None, "127.0.0.1")
    await sign_in(page, "csk_wrong")
    await expect(page.get_by_text("Too many tries. Try again in").first).to_be_visible()


async def test_a_service_that_does_not_answer_is_named(service: Service, page_of: OpenPage) -> None:
    service.new_key("read")
    page = await page_of(service, allows="status of 401|ERR_FAILED")
    await page.route("**/v1/sessions", lambda route: route.abort())
    await sign_in(page, "csk_any")
    await expect(page.get_by_text("The service does not answer.").first).to_be_visible()


async def test_a_revoked_key_leads_to_the_sign_in_and_back_to_what_was_typed(
    service: Service, page_of: OpenPage
) -> None:
    keys = service.services.database.keys
    first, token = keys.create("first", ("read", "create"))
    page = await page_of(service, allows="status of 401")
    await sign_in(page, token)
    prompt = page.get_by_role("textbox", name="Prompt")
    await prompt.fill("a red circle that took long to describe")
    keys.revoke(first.id)
    # The page may know already: the stream of a revoked key ends.
    await page.evaluate("() => document.querySelector('.composer')?.requestSubmit()")
    await expect(page.get_by_text("Your session has ended.")).to_be_visible()
    await sign_in(page, service.new_key("read", "create"))
    await expect(prompt).to_have_value("a red circle that took long to describe")


async def test_a_session_that_nobody_used_for_long_leads_to_the_sign_in(
    service: Service, page_of: OpenPage
) -> None:
    page = await page_of(service, allows=SIGNED_OUT)
    await sign_in(page, service.new_key("read", "create"))
    prompt = page.get_by_role("textbox", name="Prompt")
    await prompt.fill("a red circle")
    with service.services.database.writing() as connection:
        connection.execute(update(sessions).values(used_at=utc_now() - IDLE))
    # Several requests learn of it; any may be the first one, also of those that run already.
    await page.evaluate("""() => {
        const box = document.querySelector("form.composer");
        for (let tries = 0; tries < 3; tries += 1) box?.requestSubmit();
    }""")
    await expect(page.get_by_text("Your session has ended.")).to_be_visible()
    await page.wait_for_load_state("networkidle")
    await expect(page.get_by_text("Your session has ended.")).to_be_visible()


async def test_signing_out_leaves_nothing_of_the_person(
    service: Service, page_of: OpenPage
) -> None:
    page = await page_of(service, allows=SIGNED_OUT)
    await sign_in(page, service.new_key("read", "create"))
    await page.get_by_role("textbox", name="Prompt").fill("a secret")
    await page.get_by_role("button", name="Account").click()
    await page.get_by_role("button", name="Sign out").click()
    await sign_in(page, service.new_key("read", "create"))
    await expect(page.get_by_role("textbox", name="Prompt")).to_have_value("")


async def test_all_tabs_of_a_browser_belong_to_the_same_person(
    service: Service, page_of: OpenPage
) -> None:
    """They share one cookie: a tab that missed the change would work under another one's key."""
    names = {name: service.services.database.keys.create(name, ("read",))[1] for name in "AB"}
    page = await page_of(service, allows=SIGNED_OUT)
    other = await page.context.new_page()
    await other.goto(f"{service.url}/studio")
    await sign_in(page, names["A"])
    await other.get_by_role("button", name="Account").click()
    await expect(other.get_by_text("Signed in with the key “A”")).to_be_visible()
    await other.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_label("API key")).to_be_visible()
    await sign_in(other, names["B"])
    await page.get_by_role("button", name="Account").click()
    await expect(page.get_by_text("Signed in with the key “B”")).to_be_visible()


async def test_a_browser_shows_nobody_else_the_pictures_that_it_has_cached(
    service: Service, page_of: OpenPage
) -> None:
    key = service.new_key("read", "create")
    (image,) = (await pictures.make(service, key, prompt="a secret"))["images"]
    page = await page_of(service, allows="status of 40[14]")

    async def statuses() -> list[int]:
        ask = "(path) => fetch(path).then((answer) => answer.status)"
        return [await page.evaluate(ask, f"/v1/{kind}/{image['id']}") for kind in FILES]

    await sign_in(page, key)
    await page.get_by_role("button", name="Account").click()
    assert await statuses() == [200, 200]
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_label("API key")).to_be_visible()
    assert await statuses() == [401, 401]
    await sign_in(page, service.new_key("read"))
    await expect(page.get_by_role("button", name="Account")).to_be_visible()
    assert await statuses() == [404, 404]


async def test_a_key_that_may_only_look_has_no_prompt(service: Service, page_of: OpenPage) -> None:
    page = await page_of(service, allows=SIGNED_OUT)
    await sign_in(page, service.new_key("read"))
    await expect(page.get_by_text("Your key may look at pictures, not make them.")).to_be_visible()
    await expect(page.get_by_role("textbox", name="Prompt")).to_have_count(0)


async def test_the_sign_in_has_no_barrier(service: Service, page_of: OpenPage, axe: Axe) -> None:
    service.new_key("read")
    page = await page_of(service, theme="dark", width_px=PHONE_PX, allows=SIGNED_OUT)
    await sign_in(page, "csk_wrong")
    await expect(page.get_by_text("This key is not valid.").first).to_be_visible()
    await axe(page)
