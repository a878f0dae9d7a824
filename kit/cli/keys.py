"""`speedrun keys`: make the own signing key, show it, and say whose results to trust."""

from __future__ import annotations

from pathlib import Path

import click

from kit.cli.options import keys_option


@click.group()
def command() -> None:
    """Make a signing key and choose whose results to trust.

    \b
    Examples:
      speedrun keys show > my-key.pem
      speedrun keys trust their-key.pem --name them
    """


@command.command("generate")
@keys_option
def generate(keys: Path) -> None:
    """Make the own key; `speedrun eval` does this by itself on first use. An existing key stays.

    \b
    Examples:
      speedrun keys generate
      speedrun keys generate --keys ./keys
    """
    from kit.cli.terminal import note
    from kit.result.keys import OWN, load_or_create

    existed = (keys / OWN).exists()
    signer = load_or_create(keys)
    note(f"{'there is a key already' if existed else 'made a key'}: {keys / OWN}")
    click.echo(signer.key_id)


@command.command("show")
@keys_option
def show(keys: Path) -> None:
    """Print the own public key as PEM, for those who are to trust it.

    \b
    Examples:
      speedrun keys show
      speedrun keys show | openssl pkey -pubin -outform DER | sha256sum
    """
    from kit.cli.terminal import note
    from kit.result.keys import load

    public = load(keys).public
    note(f"key id {public.key_id}")
    click.echo(public.pem.decode("ascii"), nl=False)


@command.command("list")
@keys_option
@click.option("--json", "as_json", is_flag=True, help="Keys as JSON on stdout.")
def list_keys(keys: Path, as_json: bool) -> None:
    """List the trusted keys, the own one included.

    \b
    Examples:
      speedrun keys list
      speedrun keys list --json
    """
    from kit.cli.terminal import emit_json, note, printable
    from kit.result.keys import OWN, entries

    found = [(path, key, path.name == OWN) for path, key in entries(keys)]
    if as_json:
        emit_json({"keys": [{"file": str(p), "key_id": k.key_id, "own": own} for p, k, own in found]})
        return
    for path, key, own in found:
        click.echo(f"{key.key_id}  {printable(path.stem)}{'  (own)' if own else ''}")
    if not found:
        note(f"no keys in {keys}; make one with: speedrun keys generate")


@command.command("trust")
@click.argument("pem", type=click.Path(path_type=Path))
@click.option("--name", default=None, help="What to call it  [default: the file's name]")
@keys_option
def trust(pem: Path, name: str | None, keys: Path) -> None:
    """Trust the public key in the file PEM from now on. Compare its id with the owner's first.

    \b
    Examples:
      speedrun keys trust their-key.pem
      speedrun keys trust runs/<run_id>/signer.pem --name them
    """
    from kit.cli.terminal import note
    from kit.result.keys import read_public
    from kit.result.keys import trust as trust_key

    path = trust_key(keys, pem, name if name is not None else pem.stem)
    note(f"trusted as {path}")
    click.echo(read_public(path).key_id)
