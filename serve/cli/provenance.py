"""``cascade provenance``: what signs pictures, and what a file says of its origin."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from serve.cli import options
from serve.cli.options import DEFAULT_URL
from serve.cli.output import CliError, ExitCode, print_json, say

FOLDER = "provenance"
"""In the data folder."""

provenance_app = typer.Typer(
    help="Make the certificate that pictures are signed with; verify files.", no_args_is_help=True
)

_MEANING = {
    "trusted": "signed, and unchanged since; the service trusts the signer",
    "valid": "signed, and unchanged since; the service does not know the signer",
    "invalid": "signed, but changed since, signed wrongly, or not readable",
    "none": "not signed",
}


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


@provenance_app.command()
def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", show_default=False)],
    as_json: options.Json = False,
    url: options.Url = DEFAULT_URL,
) -> None:
    """Say what a picture file tells of its origin; fails if it was changed after it was signed."""
    from serve.cli.client import ServiceClient
    from serve.cli.starting_picture import read_picture

    with ServiceClient(url) as client:
        found = client.verify(file.name, read_picture(file))
    if as_json:
        print_json(found)
    else:
        _print(found)
    if found["credentials"]["state"] == "invalid":
        codes = ", ".join(found["credentials"]["codes"])
        raise CliError(f"{file} has no valid signature: {codes}", ExitCode.FAILED)


def _print(found: dict[str, Any]) -> None:
    credentials, xmp, ours = found["credentials"], found["xmp"], found["ours"]
    say(f"credentials: {credentials['state']}: {_MEANING.get(credentials['state'], '')}")
    if credentials["signer"]:
        say(f"signer: {credentials['signer']}")
    for action in credentials["actions"]:
        by = " ".join(filter(None, (action["software"], action["model"])))
        say(f"action: {action['action']}" + (f" by {by}" if by else ""))
    for one in credentials["ingredients"]:
        signed = "a signed picture" if one["is_signed"] else "a picture that is not signed"
        say(f"made of {signed} ({one['relationship']})")
    if xmp:
        by = " ".join(filter(None, (xmp["system"], xmp["version"])))
        say(f"mark: {xmp['digital_source_type'].rpartition('/')[2]}" + (f" by {by}" if by else ""))
    if mark := found["watermark"]:
        say(f"watermark: {mark['payload']}, of image {mark['image_id'] or 'unknown'}")
    if ours:
        say(f"names image {ours['image_id']} of this service")
    for near in found["nearest"]:
        say(f"like image {near['image_id']} ({near['distance']} of 64 bits differ)")
    if found["is_damaged"]:
        say("its pixels cannot be read")


def _write_new(file: Path, text: str) -> None:
    """Write a file that only this user reads; raises FileExistsError if there is one."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        stream.write(text)
