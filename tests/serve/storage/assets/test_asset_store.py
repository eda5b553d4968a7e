"""The states of assets, on both databases: by example, and by random actions against a model."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine

from cascade_core.errors import (
    AssetConflict,
    AssetDamaged,
    AssetProtected,
    CascadeError,
    FourEyes,
    Gone,
    NotFound,
)
from serve.storage.assets.asset import Actor, Asset
from serve.storage.assets.asset_store import AssetView
from serve.storage.database import Database
from serve.storage.library.query import LibraryQuery
from serve.storage.lineage import Viewpoint
from serve.storage.records import JobOwner
from serve.storage.schema.asset_states import ACTIONS, DRAFT, PROTECTED, STATES, ActionName
from tests.limits import HANG_S
from tests.serve.conftest import JobMaker

SHA = "a" * 64
ANN, BEA, CARL = (Actor(f"key-{name}", name) for name in ("ann", "bea", "carl"))
PEOPLE = (
    ANN,
    BEA,
    CARL,
    Actor("key-bot", "bot", "discord:1"),
    Actor("key-bot", "bot", "discord:2"),
)
ALL = AssetView(Viewpoint(None, None), frozenset(STATES))


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, new_database_url: Callable[[str], str]) -> str:
    return new_database_url(request.param)


@pytest.fixture
def picture(database: Database, make_job: JobMaker) -> Callable[..., str]:
    """Records a picture of Ann, or of another actor; returns its id."""

    def picture(owner: Actor = ANN, prompt: str = "a red circle") -> str:
        job = make_job(prompt=prompt)
        job = replace(job, owner=JobOwner(owner.key_id, owner.user))
        database.jobs.insert(job)
        database.images.save(job.images[0].id, 10, "a")
        return job.images[0].id

    return picture


def do(
    database: Database, image_id: str, name: ActionName, actor: Actor = BEA, **more: object
) -> Asset:
    given = {"sha256": SHA, "note": "too dark" if ACTIONS[name].needs_note else ""} | more
    return database.assets.change(image_id, ACTIONS[name], actor, **given)  # type: ignore[arg-type]


def ids(database: Database, state: str | None = None, view: AssetView = ALL) -> list[str]:
    return [asset.id for asset in database.assets.page(view, state, None, 10)]  # type: ignore[arg-type]


def found(database: Database, text: str) -> list[str]:
    query = LibraryQuery.parse(text)
    return [one.id for one in database.library.page(Viewpoint(None, None), query, None, 10)]


def test_a_picture_goes_from_draft_to_published(
    database: Database, picture: Callable[..., str]
) -> None:
    image_id = picture()
    assert database.assets.get(image_id).version == 0  # type: ignore[union-attr]
    submitted = do(database, image_id, "submit", ANN)
    assert (submitted.state, submitted.version, submitted.submitted_by) == ("submitted", 1, ANN)
    approved = do(database, image_id, "approve", BEA, note="fine", expected_version=1)
    assert (approved.decided_by, approved.note) == (BEA, "fine")
    assert approved.submitted_by == ANN
    published = do(database, image_id, "publish", CARL)
    assert published.published_at is not None
    assert database.assets.get(image_id) == published
    events = database.audit.of_asset(image_id)
    assert [(one.action, one.actor, one.note) for one in events] == [
        ("submit", ANN, ""), ("approve", BEA, "fine"), ("publish", CARL, ""),
    ]  # fmt: skip
    assert [one.details["sha256"] for one in events] == [SHA] * 3


def test_a_rejected_picture_shows_why_until_it_is_submitted_again(
    database: Database, picture: Callable[..., str]
) -> None:
    image_id = picture()
    do(database, image_id, "submit", ANN)
    assert do(database, image_id, "reject").note == "too dark"
    again = do(database, image_id, "submit", ANN)
    assert (again.note, again.decided_by, again.version) == ("", None, 3)


@pytest.mark.parametrize("actor", [ANN, replace(ANN, key="renamed"), Actor(None, "local", "ann")])
def test_neither_the_submitter_nor_the_owner_approves(
    database: Database, picture: Callable[..., str], actor: Actor
) -> None:
    image_id = picture(actor)
    do(database, image_id, "submit", BEA)
    for own in (actor, BEA):
        with pytest.raises(FourEyes):
            do(database, image_id, "approve", own)
    assert do(database, image_id, "approve", BEA, may_decide_own=True).state == "approved"


def test_two_people_of_one_key_are_four_eyes(
    database: Database, picture: Callable[..., str]
) -> None:
    one, other = PEOPLE[3:]
    image_id = picture(one)
    do(database, image_id, "submit", one)
    with pytest.raises(FourEyes):
        do(database, image_id, "approve", one)
    assert do(database, image_id, "approve", other).decided_by == other


def test_one_person_s_machine_without_keys_approves_its_own(
    database: Database, picture: Callable[..., str]
) -> None:
    local = Actor(None, "local")
    image_id = picture(local)
    do(database, image_id, "submit", local)
    assert do(database, image_id, "approve", local).state == "approved"


def test_another_version_or_another_file_is_refused_and_changes_nothing(
    database: Database, picture: Callable[..., str]
) -> None:
    image_id = picture()
    do(database, image_id, "submit", ANN)
    with pytest.raises(AssetConflict, match="version 1"):
        do(database, image_id, "approve", expected_version=0)
    with pytest.raises(AssetDamaged):
        do(database, image_id, "approve", sha256="b" * 64)
    assert database.assets.get(image_id).version == 1  # type: ignore[union-attr]
    assert len(database.audit.of_asset(image_id)) == 1
    with pytest.raises(NotFound):
        do(database, "nothing", "submit")


def test_lists_show_what_a_caller_sees_the_oldest_submission_first(
    database: Database, picture: Callable[..., str]
) -> None:
    of_ann, of_bea, draft = picture(ANN), picture(BEA), picture(ANN)
    do(database, of_bea, "submit", BEA)
    do(database, of_ann, "submit", ANN)
    assert ids(database, "submitted") == [of_bea, of_ann]
    last = database.assets.get(of_bea)
    assert last is not None
    assert last.changed_at is not None
    (after,) = database.assets.page(ALL, "submitted", (last.changed_at, of_bea), 10)
    assert after.id == of_ann
    own = AssetView(Viewpoint(ANN.key_id, None), frozenset({"approved"}))
    assert ids(database, None, own) == [of_ann]
    do(database, of_bea, "approve", CARL)
    assert ids(database, None, own) == [of_bea, of_ann]
    assert draft not in ids(database)
    assert database.assets.counts(own) == {
        "submitted": 1, "approved": 1, "rejected": 0, "published": 0, "archived": 0,
    }  # fmt: skip


def test_the_library_finds_pictures_by_their_state(
    database: Database, picture: Callable[..., str]
) -> None:
    first, second, third = picture(), picture(), picture()
    do(database, first, "submit", ANN)
    do(database, second, "submit", ANN)
    do(database, second, "approve")
    assert found(database, "state:submitted") == [first]
    assert found(database, "state:approved circle") == [second]
    assert found(database, "state:draft") == [third]
    do(database, first, "withdraw", ANN)
    assert found(database, "state:draft") == [third, first]


def test_a_picture_whose_state_protects_it_is_deleted_after_a_release_alone(
    database: Database, picture: Callable[..., str]
) -> None:
    image_id = picture()
    do(database, image_id, "submit", ANN)
    do(database, image_id, "approve", note="fine")
    database.asset_comments.add(image_id, BEA, "look here", (0.5, 0.25))
    with pytest.raises(AssetProtected, match="approved"):
        database.images.delete(image_id)
    assert database.assets.release(image_id, CARL)
    assert database.asset_comments.of_asset(image_id) == []
    assert database.images.delete(image_id) is not None
    *_, approved, purge = database.audit.of_asset(image_id)
    assert (approved.note, purge.action, purge.actor) == ("", "purge", CARL)
    assert [one.problem for one in database.audit.verify()] == [""]
    with pytest.raises(Gone):
        do(database, image_id, "submit", ANN)


def test_comments_have_an_author_and_perhaps_a_place(
    database: Database, picture: Callable[..., str]
) -> None:
    image_id = picture()
    first = database.asset_comments.add(image_id, ANN, "the left eye", (0.1, 0.9))
    second = database.asset_comments.add(image_id, BEA, "good", None)
    database.asset_comments.resolve(image_id, first.id, is_resolved=True)
    stored = database.asset_comments.of_asset(image_id)
    assert stored == [replace(first, is_resolved=True), second]
    assert [one.to_json(ANN)["mine"] for one in stored] == [True, False]
    assert database.assets.get(image_id).comment_count == 2  # type: ignore[union-attr]
    database.asset_comments.remove("another", first.id)
    database.asset_comments.remove(image_id, second.id)
    assert [one.id for one in database.asset_comments.of_asset(image_id)] == [first.id]
    database.images.delete(image_id)
    assert database.asset_comments.of_asset(image_id) == []


class AssetMachine(RuleBasedStateMachine):
    """Random actions of several people on two pictures, against a model of their states."""

    database: Database
    picture: Callable[..., str]

    @initialize()
    def begin(self) -> None:
        self.owners = {self.picture(actor): actor for actor in PEOPLE[:2]}
        self.states = dict.fromkeys(self.owners, DRAFT)
        self.versions = dict.fromkeys(self.owners, 0)
        self.submitters: dict[str, Actor] = {}

    @rule(
        which=st.integers(0, 1),
        name=st.sampled_from(sorted(ACTIONS)),
        actor=st.sampled_from(PEOPLE),
        behind=st.sampled_from([None, 0, 0, 1]),
        is_sound=st.sampled_from([True, True, True, False]),
    )
    def act(
        self, which: int, name: ActionName, actor: Actor, behind: int | None, is_sound: bool
    ) -> None:
        image_id = list(self.owners)[which]
        action, state, version = ACTIONS[name], self.states[image_id], self.versions[image_id]
        own = {self.owners[image_id], self.submitters.get(image_id)}
        is_allowed = (
            state in action.sources
            and behind in (None, 0)
            and (is_sound or version == 0)
            and not (action.needs_other and actor in own)
        )
        sha256 = SHA if is_sound or version == 0 else "b" * 64
        expected = None if behind is None else version - behind
        try:
            after = do(
                self.database, image_id, name, actor, sha256=sha256, expected_version=expected
            )
        except CascadeError:
            assert not is_allowed
            return
        assert is_allowed
        if name == "submit":
            self.submitters[image_id] = actor
        self.states[image_id], self.versions[image_id] = action.target, version + 1
        assert (after.state, after.version) == (action.target, version + 1)

    @rule(which=st.integers(0, 1))
    def delete(self, which: int) -> None:
        image_id = list(self.owners)[which]
        if self.states[image_id] in PROTECTED:
            with pytest.raises(AssetProtected):
                self.database.images.delete(image_id)

    @invariant()
    def states_and_events_agree(self) -> None:
        for image_id in getattr(self, "states", {}):
            state = self.states[image_id]
            stored = self.database.assets.get(image_id)
            assert stored is not None
            assert (stored.state, stored.version) == (state, self.versions[image_id])
            events = self.database.audit.of_asset(image_id)
            assert [one.details["version"] for one in events] == list(range(1, stored.version + 1))
            assert [one.details["to"] for one in events][-1:] in ([], [state])
            assert image_id in found(self.database, f"state:{state}")

    def teardown(self) -> None:
        assert all(one.problem == "" for one in self.database.audit.verify())


def test_no_sequence_of_actions_reaches_an_illegal_state(
    database: Database, picture: Callable[..., str]
) -> None:
    machine = type(
        "Machine", (AssetMachine,), {"database": database, "picture": staticmethod(picture)}
    )
    run_machine(
        machine,
        settings=settings(
            max_examples=15,
            stateful_step_count=12,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_of_two_decisions_at_once_exactly_one_counts(
    database: Database, picture: Callable[..., str]
) -> None:
    image_ids = [picture() for _ in range(8)]
    for image_id in image_ids:
        do(database, image_id, "submit", ANN)
    barrier = Barrier(2)

    def decide(name: ActionName, actor: Actor) -> list[bool]:
        won = []
        for image_id in image_ids:
            barrier.wait(HANG_S)
            try:
                do(database, image_id, name, actor)
                won.append(True)
            except AssetConflict:
                won.append(False)
        return won

    with ThreadPoolExecutor(2) as pool:
        approved = pool.submit(decide, "approve", BEA)
        rejected = pool.submit(decide, "reject", CARL)
        assert [a + b for a, b in zip(approved.result(), rejected.result(), strict=True)] == [1] * 8
    assert all(len(database.audit.of_asset(one)) == 2 for one in image_ids)
    assert [one.problem for one in database.audit.verify()] == [""]
