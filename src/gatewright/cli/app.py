"""The commands, their options and their help. Each loads what it needs only when it is called."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from gatewright.cli import exits, output
from gatewright.errors import ConfigError, GatewrightError

# Panels and colours only where somebody looks at them; a pipe gets plain text.
_pretty = output.coloured(sys.stdout)

app = typer.Typer(
    name="gatewright",
    help="An API gateway in Python.",
    epilog="Exit codes: 0 ok, 1 problems found or failed, 2 wrong usage, 3 cannot start.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich" if _pretty else None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Config = Annotated[
    list[Path] | None,
    typer.Option("-c", "--config", metavar="FILE", help="Configuration: file or folder, may be repeated. Default: "
                 "$GATEWRIGHT_CONFIG, else ./gateway.yaml."),
]  # fmt: skip
LogFormat = Literal["text", "json"]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
Admin = Annotated[
    str | None,
    typer.Option("--admin", metavar="URL", help="Admin listener. Default: $GATEWRIGHT_ADMIN, else that of the "
                 "configuration."),
]  # fmt: skip


def start(arguments: list[str]) -> int:
    """Run a command line. Returns the exit code; says what went wrong on standard error."""
    try:
        code = app(arguments, prog_name="gatewright", standalone_mode=True)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else exits.FAILED
    except ConfigError as error:
        from gatewright.cli import problems  # noqa: PLC0415

        problems.show(error.problems)
        return exits.FAILED
    except GatewrightError as error:
        return output.fail(str(error))
    return code if isinstance(code, int) else exits.OK


@app.command(epilog="Example: gatewright run -c gateway.yaml")
def run(
    config: Config = None,
    pid_file: Annotated[Path | None, typer.Option("--pid-file", metavar="FILE", help="Write the process id.")] = None,
    no_watch: Annotated[bool, typer.Option("--no-watch", help="Do not reload when a file changes.")] = False,
    log_format: Annotated[
        LogFormat | None,
        typer.Option("--log-format", help="Of the error log. Default: text in a terminal, else JSON."),
    ] = None,
) -> None:
    """Run the gateway until it is told to stop.

    Signals: HUP reads the configuration again, TERM and INT stop gracefully, QUIT at once, USR1 opens log files anew,
    USR2 starts a new version beside this one.
    """
    from gatewright.cli.run import RunOptions  # noqa: PLC0415
    from gatewright.cli.run import run as command  # noqa: PLC0415

    raise typer.Exit(command(RunOptions(config or [], pid_file, not no_watch, log_format)))


@app.command(epilog="Example: gatewright check -c gateway.yaml --json")
def check(config: Config = None, as_json: Json = False) -> None:
    """Find everything that is wrong with a configuration, with file, line and column."""
    from gatewright.cli.check import check as command  # noqa: PLC0415

    raise typer.Exit(command(config or [], as_json=as_json))


@app.command(epilog="Example: gatewright explain GET http://api.example.com/orders/1 -H 'x-canary: 1'")
def explain(
    method: Annotated[str, typer.Argument(help="GET, POST, …")],
    url: Annotated[str, typer.Argument(help="As a client would send it: http://host/path?query, or /path.")],
    header: Annotated[list[str] | None, typer.Option("-H", "--header", metavar="'NAME: VALUE'")] = None,
    address: Annotated[str, typer.Option("--from", metavar="ADDRESS", help="The client's address.")] = "127.0.0.1",
    listener: Annotated[str | None, typer.Option("--listener", metavar="NAME", help="Default: the first.")] = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Say what the gateway would do with a request, and why: route, near misses, policies, endpoint."""
    from gatewright.cli.explain import explain as command  # noqa: PLC0415

    raise typer.Exit(command(method, url, header or [], address, listener, config or [], as_json=as_json))


@app.command(epilog="Example: gatewright status --watch")
def status(
    admin: Admin = None,
    config: Config = None,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again every second until Ctrl-C.")] = False,
    as_json: Json = False,
) -> None:
    """Show a running gateway: workers, listeners, health of upstreams, breakers, versions."""
    from gatewright.cli.status import status as command  # noqa: PLC0415

    raise typer.Exit(command(admin, config or [], watch=watch, as_json=as_json))


@app.command(epilog="Example: gatewright reload")
def reload(
    admin: Admin = None,
    config: Config = None,
    pid: Annotated[int | None, typer.Option("--pid", help="The supervisor. Default: as the gateway says.")] = None,
    as_json: Json = False,
) -> None:
    """Make a running gateway read its configuration again, and say what came of it."""
    from gatewright.cli.reload import reload as command  # noqa: PLC0415

    raise typer.Exit(command(admin, config or [], pid, as_json=as_json))


@app.command(epilog="Example: gatewright schema > gateway.schema.json")
def schema(
    config: Annotated[
        list[Path] | None, typer.Option("-c", "--config", metavar="FILE", help="Whose plugins are to be in it.")
    ] = None,
) -> None:
    """Print the JSON Schema of the configuration, for editors."""
    from gatewright.cli.schema import schema as command  # noqa: PLC0415

    raise typer.Exit(command(config or []))


@app.command("new-policy", epilog="Example: gatewright new-policy stamp")
def new_policy(
    name: Annotated[str, typer.Argument(help="In small letters, digits and underscores.")],
    into: Annotated[Path, typer.Option("--into", metavar="FOLDER", help="Where to write it.")] = Path(),
    as_json: Json = False,
) -> None:
    """Write a policy of your own to start from, with its test."""
    from gatewright.cli.new_policy import new_policy as command  # noqa: PLC0415

    raise typer.Exit(command(name, into, as_json=as_json))


@app.command(epilog="Example: gatewright demo --check")
def demo(
    check: Annotated[
        bool, typer.Option("--check", help="Send the suggested requests, print the answers, end.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run two sample upstreams and a gateway in front of them, and say what to try."""
    from gatewright.cli.demo.run import main as command  # noqa: PLC0415

    raise typer.Exit(command(check=check or as_json, as_json=as_json))


@app.command()
def version(as_json: Json = False) -> None:
    """Print the version."""
    from gatewright.cli.version import version as command  # noqa: PLC0415

    raise typer.Exit(command(as_json=as_json))
