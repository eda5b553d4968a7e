"""Signs picture files with C2PA: the manifest goes into the file, which must not change after.

The library is loaded with the first signer, as its code takes 50 MB and most services sign nothing.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cascade_core.errors import ProvenanceFailed, SettingsInvalid
from cascade_core.images.image_files import encode_image
from serve.provenance.certificates import algorithm_of, ends_at, split_chain
from serve.provenance.signing_key import FileKey, SigningKey, load_key, read_trust
from serve.provenance.statements import (
    INGREDIENT,
    MAX_MANIFESTS,
    EditAction,
    ModelPassport,
    Origin,
    PictureFile,
    Training,
    edited_picture,
    new_picture,
)
from serve.settings import Settings

if TYPE_CHECKING:
    import c2pa

logger = logging.getLogger(__name__)

NO_NETWORK: Final = {"remote_manifest_fetch": False, "ocsp_fetch": False}
"""Settings of the library: a file must not have this service call addresses that it names."""
_TEST_SIDE_PX: Final = 8
_TEST_ORIGIN: Final = Origin(ModelPassport("test", "", "", ""), "test")


class PictureSigner:
    """Signs pictures; methods block, and may be called in several threads at once.

    Args:
        key: that signs.
        training: what the owner of the pictures allows.
        tsa_url: of a time-stamp authority (RFC 3161); empty: none.
        trusted_pem: certificates that are trusted beside our own.

    Attributes:
        trusted_pem: those that are trusted, our own authority's among them.

    Raises:
        ValueError: the certificate cannot be used.
    """

    def __init__(
        self,
        key: FileKey | SigningKey,
        training: Training = "notAllowed",
        tsa_url: str = "",
        trusted_pem: str = "",
    ) -> None:
        import c2pa

        self._c2pa = c2pa
        self._training = training
        chain_pem, root_pem = split_chain(key.chain_pem)
        self._signer = _native_signer(key, chain_pem, tsa_url)
        self.trusted_pem = root_pem + trusted_pem
        trust = {"trust_anchors": self.trusted_pem}
        # A thumbnail of the picture in its manifest would take 100 KB and 300 ms.
        builder = {"thumbnail": {"enabled": False}}
        values = {"builder": builder, "trust": trust, "verify": NO_NETWORK}
        self._context = c2pa.Context.from_dict(values)
        unchecked = {"verify": NO_NETWORK | {"verify_after_reading": False}}
        self._counting = c2pa.Context.from_dict(unchecked)

    def sign_new(self, picture: PictureFile, origin: Origin) -> bytes:
        """Return the file of a picture that a model has made, with its manifest.

        Raises:
            ProvenanceFailed: the key, its device or the time-stamp authority gave no signature, or
                the file is none of the three formats.
        """
        source = origin.source
        if isinstance(source, PictureFile):
            try:
                is_young = self._count_manifests(source) <= MAX_MANIFESTS
            except self._c2pa.C2paError:
                return self.sign_new(picture, replace(origin, source="unreadable"))
            if not is_young:
                origin = replace(origin, source="too_many_generations")
        manifest = new_picture(origin, self._training)
        if not isinstance(origin.source, PictureFile):
            return self._signed(picture, manifest)
        used = {"relationship": "inputTo", "label": INGREDIENT}
        return self._signed(picture, manifest, used, origin.source)

    def sign_edited(
        self, picture: PictureFile, parent: PictureFile, actions: Sequence[EditAction]
    ) -> bytes:
        """Return the file of a picture that was made of another one's pixels, with its manifest.

        Args:
            picture: the new file.
            parent: the file that it was made of, as it is stored.
            actions: what was done, in order.

        Raises:
            ProvenanceFailed: as `sign_new`.
        """
        manifest = edited_picture(list(actions), self._training)
        return self._signed(picture, manifest, {"relationship": "parentOf"}, parent)

    def _signed(
        self,
        picture: PictureFile,
        manifest: dict[str, Any],
        relation: dict[str, str] | None = None,
        ingredient: PictureFile | None = None,
    ) -> bytes:
        signed = BytesIO()
        try:
            with self._c2pa.Builder(manifest, self._context) as builder:
                if ingredient is not None and relation is not None:
                    if relation["relationship"] == "parentOf":
                        builder.set_intent(self._c2pa.C2paBuilderIntent.EDIT)
                    file = BytesIO(ingredient.data)
                    builder.add_ingredient(relation, ingredient.media_type, file)
                builder.sign(self._signer, picture.media_type, BytesIO(picture.data), signed)
        except self._c2pa.C2paError as error:
            logger.exception("a picture could not be signed")
            message = "the picture could not be signed, so it is not kept or sent"
            raise ProvenanceFailed(message) from error
        return signed.getvalue()

    def _count_manifests(self, picture: PictureFile) -> int:
        """Return how many manifests a file holds, its own and those of what it was made from."""
        file = BytesIO(picture.data)
        found = self._c2pa.Reader.try_create(picture.media_type, file, context=self._counting)
        if found is None:
            return 0
        with found as reader:
            return len(json.loads(reader.json())["manifests"])


def load_signer(settings: Settings) -> PictureSigner | None:
    """Return what signs pictures by the settings, after it has signed one; None: nothing does.

    The test needs no time-stamp authority, so that a service starts without a network.

    Raises:
        SettingsInvalid: a file or the factory is wrong, the key is not the certificate's, or a
            certificate has ended or may not sign pictures.
    """
    key, trusted_pem = load_key(settings), read_trust(settings)
    if key is None:
        return None
    variable = "CASCADE_C2PA_SIGNER" if settings.c2pa_signer else "CASCADE_C2PA_CERT"
    if (ended_at := ends_at(key.chain_pem)) < datetime.now(UTC):
        raise SettingsInvalid(f"{variable}: a certificate ended on {ended_at:%Y-%m-%d}")
    make = partial(PictureSigner, key, settings.c2pa_training, trusted_pem=trusted_pem)
    pixels = np.zeros((_TEST_SIDE_PX, _TEST_SIDE_PX, 3), np.uint8)
    try:
        make().sign_new(PictureFile(encode_image(pixels, "png", None), "png"), _TEST_ORIGIN)
        return make(tsa_url=settings.c2pa_tsa_url)
    except ProvenanceFailed as error:
        why = f"{error.__cause__}; does the key belong to the certificate, and may it sign?"
        raise SettingsInvalid(f"{variable}: nothing can be signed: {why}") from error
    except Exception as error:  # the library raises several kinds on keys that it cannot use
        raise SettingsInvalid(f"{variable}: nothing can be signed: {error}") from error


def _native_signer(key: FileKey | SigningKey, chain_pem: str, tsa_url: str) -> c2pa.Signer:
    import c2pa

    name = algorithm_of(chain_pem)
    if isinstance(key, FileKey):
        pem = key.key_pem.encode()
        info = c2pa.C2paSignerInfo(name, chain_pem.encode(), pem, tsa_url or None)
        return c2pa.Signer.from_info(info)
    algorithm = c2pa.C2paSigningAlg[name.upper()]
    return c2pa.Signer.from_callback(key.sign, algorithm, chain_pem, tsa_url or None)
