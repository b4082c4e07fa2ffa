"""Named profiles: the address and the options of a server under one name, in the user's configuration file.

``@NAME`` instead of HOST stands for the address, and for each option that is given nowhere else.
"""

from __future__ import annotations

import json
import os
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from framelet import ConfigurationError

MARK = "@"
"""The first character of a HOST that names a profile."""


@dataclass
class Profiles:
    """The configuration file: the options of each profile, as ``ca_file``; ``host`` is the address."""

    default: str | None = None
    options: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def read(cls) -> Profiles:
        """Read the file; raises ConfigurationError if it cannot be read or is not valid."""
        path = _path()
        try:
            found = tomllib.loads(path.read_text("utf-8"))
            options = {name: dict(values) for name, values in found.get("profiles", {}).items()}
            for name, values in options.items():
                if not isinstance(values.get("host"), str):
                    message = f"profiles.{name}.host is not a text"
                    raise TypeError(message)  # noqa: TRY301 - as what the lines above raise
            default = found.get("default")
            if not (default is None or isinstance(default, str)):
                raise TypeError("default is not a text")  # noqa: TRY301 - likewise
        except FileNotFoundError:
            return cls()
        except OSError as error:
            message = f"{path} cannot be read: {error.strerror}"
            raise ConfigurationError(message) from error
        except (ValueError, TypeError, AttributeError) as error:
            message = f"{path} is not a valid configuration file: {error}"
            raise ConfigurationError(message) from error
        return cls(default, options)

    def write(self) -> None:
        """Replace the file, readable by its user alone; raises ConfigurationError if that fails."""
        lines = [] if self.default is None else [f"default = {json.dumps(self.default)}"]
        for name, values in self.options.items():
            lines += ["", f"[profiles.{name}]", *(f"{key} = {json.dumps(values[key])}" for key in values)]
        path = _path()
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            new = path.with_suffix(".new")
            new.touch(mode=0o600)
            new.write_text("\n".join(lines) + "\n", "utf-8")
            new.replace(path)
        except OSError as error:
            message = f"{path} cannot be written: {error.strerror}"
            raise ConfigurationError(message) from error

    def of(self, name: str) -> dict[str, Any]:
        """The options of a profile; raises ConfigurationError if the name is unknown."""
        if name not in self.options:
            expected = f"expected one of {', '.join(self.options)}"
            known = expected if self.options else "add it with framelet profile add NAME HOST"
            message = f"unknown profile '{name}': {known}"
            raise ConfigurationError(message)
        return self.options[name]


def _path() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "framelet" / "config.toml"
