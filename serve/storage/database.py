"""The service's metadata in SQL, one typed store for each kind of row."""

from __future__ import annotations

from sqlalchemy import delete, insert, select

from serve.settings import CONNECTIONS
from serve.storage.access.credentials import KeyStore, SecretStore
from serve.storage.access.sessions import SessionStore
from serve.storage.assets.asset_store import AssetStore
from serve.storage.assets.audit_log import AuditLog
from serve.storage.assets.comment_store import CommentStore
from serve.storage.assets.preset_store import PresetStore
from serve.storage.comparisons.comparison_store import ComparisonStore
from serve.storage.connections import Connections
from serve.storage.events import EventLog
from serve.storage.image_store import ImageStore
from serve.storage.job_queue.activity import ActivityStore
from serve.storage.job_queue.deadline_store import DeadlineStore
from serve.storage.job_queue.estimates import ScaledToZeroStages
from serve.storage.job_store import JobStore
from serve.storage.library.board_store import BoardStore
from serve.storage.library.fingerprints import FingerprintStore
from serve.storage.library.library_store import LibraryStore
from serve.storage.library.picture_changes import PictureChanges
from serve.storage.lineage import LineageStore
from serve.storage.preferences import PreferenceStore
from serve.storage.schema.tables import jobs, scaled_to_zero_stages
from serve.storage.schema.upgrade import Migrated, upgrade
from serve.storage.upload_store import UploadStore
from serve.storage.waiting_store import WaitingStore


class Database(Connections):
    """The database of one process; see :class:`serve.storage.connections.Connections`.

    Attributes:
        jobs, waiting, images, library, fingerprints, boards, pictures, comparisons, assets,
            asset_comments, audit, export_presets, lineage, uploads, deadlines, events,
            scaled_to_zero, keys, sessions, secrets, preferences, activity: the stores. Their
            methods block; call them through :meth:`run`. Most are one transaction each.
    """

    def __init__(self, url: str, connections: int = CONNECTIONS, reserved: int = 0) -> None:
        super().__init__(url, connections, reserved)
        self.jobs = JobStore(self)
        self.waiting = WaitingStore(self, self.jobs.admission)
        self.images = ImageStore(self)
        self.library = LibraryStore(self)
        self.fingerprints = FingerprintStore(self)
        self.boards = BoardStore(self)
        self.pictures = PictureChanges(self)
        self.comparisons = ComparisonStore(self)
        self.assets = AssetStore(self)
        self.asset_comments = CommentStore(self)
        self.audit = AuditLog(self)
        self.export_presets = PresetStore(self)
        self.lineage = LineageStore(self)
        self.uploads = UploadStore(self)
        self.deadlines = DeadlineStore(self)
        self.events = EventLog(self)
        self.scaled_to_zero = ScaledToZeroStages(self)
        self.keys = KeyStore(self)
        self.sessions = SessionStore(self)
        self.secrets = SecretStore(self)
        self.preferences = PreferenceStore(self)
        self.activity = ActivityStore(self)

    def create_tables(self) -> Migrated:
        """Bring the tables to this release's schema; safe when several processes start at once.

        Raises:
            DatabaseNewer: a later release has migrated the database already.
        """
        with self.translated():
            return upgrade(self._engine)

    def probe(self) -> None:
        """Check that the database answers and has its tables."""
        with self.reading() as connection:
            connection.execute(select(jobs.c.id).limit(1)).first()

    def probe_writing(self) -> None:
        """Check that the database can be written: a file may be read-only, a disk full."""
        probe = {"name": "probe"}
        with self.writing() as connection:
            connection.execute(insert(scaled_to_zero_stages).values(probe))
            connection.execute(
                delete(scaled_to_zero_stages).where(scaled_to_zero_stages.c.name == "probe")
            )
