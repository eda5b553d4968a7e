"""``cascade provenance``: what signs pictures."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import typer

from serve.cli.output import CliError, say

FOLDER = "provenance"
"""In the data folder."""

provenance_app = typer.Typer(
    help="Make the certificate that pictures are signed with.", no_args_is_help=True
)


@provenance_app.callback()
def provenance() -> None:
    """Let the group have one command."""


@provenance_app.command()
def init() -> None:
    """Make a private authority and a certificate in the data folder, and show what to set.

    Programs of others show such signatures as valid, not as trusted: the authority is on no list.
    """
    from serve.local.private_files import private_files
    from serve.provenance.certificates import ends_at, make_credentials
    from serve.settings import load_settings

    folder = load_settings().data_dir / FOLDER
    made = make_credentials()
    files = {
        folder / "authority.pem": made.authority_pem,
        folder / "authority.key": made.authority_key_pem,
        folder / "chain.pem": made.chain_pem,
        folder / "signer.key": made.key_pem,
    }
    known = [str(file) for file in files if file.exists()]
    if known:
        raise CliError(f"{known[0]} is there already; move {folder} away to start anew")
    try:
        with private_files():
            folder.mkdir(parents=True, exist_ok=True)
            for file, pem in files.items():
                _write_new(file, pem)
    except OSError as error:
        raise CliError(f"{error.filename}: {error.strerror}") from error
    say(f"The certificate is valid until {ends_at(made.chain_pem):%Y-%m-%d}. Set, and restart:")
    say(f"export CASCADE_C2PA_CERT={shlex.quote(str(folder / 'chain.pem'))}")
    say(f"export CASCADE_C2PA_KEY={shlex.quote(str(folder / 'signer.key'))}")
    say("Keep signer.key and authority.key secret, and back them up.")


def _write_new(file: Path, text: str) -> None:
    """Write a file that only this user reads; raises FileExistsError if there is one."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        stream.write(text)
