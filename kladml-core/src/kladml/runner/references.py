"""From text to an object: `package.module:Name` or `path/to/file.py:Name`."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
from difflib import get_close_matches
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kladml.errors import KladMLError, ModelReferenceError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import CodeType, ModuleType


def load_reference(
    reference: str, folders: Sequence[Path], *, key: str, error_class: type[KladMLError] = ModelReferenceError
) -> Any:
    """Import a module or file and return the object that the reference names.

    A file's folder goes to the front of `sys.path`, as when Python runs the file, so that it can import its
    neighbours.

    Args:
        reference: `module:Name` or `file.py:Name`.
        folders: Where relative files are looked for, in this order.
        key: The configuration key that holds the reference, for errors.
        error_class: Class of the errors.

    Raises:
        KladMLError: Of `error_class`: the reference is malformed, its module does not import, or it does not
            define the name; names what it does define.
    """
    place, colon, name = reference.rpartition(":")
    if not colon or not place or not name.isidentifier():
        problem = f"{key} '{reference}' is no reference"
        raise error_class(problem, next_step="write package.module:Name or path/to/file.py:Name")
    if place.endswith(".py"):
        file = _existing(place, folders, reference, key, error_class)
        module = _import(lambda: _load_file(file), reference, key, error_class)
    else:
        module = _import(lambda: importlib.import_module(place), reference, key, error_class)
    if hasattr(module, name):
        return getattr(module, name)
    defined = _defined(module)
    close = get_close_matches(name, defined, n=1)
    problem = f"{key}: {place} defines no {name} (it defines {', '.join(defined) or 'nothing'})"
    raise error_class(problem, next_step=f"did you mean {place}:{close[0]}?" if close else "correct the name")


def _existing(place: str, folders: Sequence[Path], reference: str, key: str, error_class: type[KladMLError]) -> Path:
    candidates = [Path(folder, place) for folder in folders]
    for candidate in candidates:
        if candidate.is_file():
            return candidate.resolve()
    looked = ", ".join(str(folder) for folder in dict.fromkeys(folders))
    problem = f"{key} '{reference}' names a file that does not exist"
    raise error_class(problem, next_step=f"it was looked for in {looked}")


def _load_file(file: Path) -> ModuleType:
    digest = hashlib.sha256(str(file).encode()).hexdigest()[:8]
    name = f"{file.stem}_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    folder = str(file.parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    loader = _FromSource(name, str(file))
    spec = importlib.util.spec_from_loader(name, loader)
    assert spec is not None  # noqa: S101 - there is a loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


class _FromSource(SourceFileLoader):
    """Compiles what a file holds now.

    Python takes bytecode for current by the second of the change and the size of the file, so that a number that was
    corrected within a second would stay the old one, while the run notes the hash of the new file.
    """

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def _import(load: Any, reference: str, key: str, error_class: type[KladMLError]) -> ModuleType:
    try:
        return load()  # type: ignore[no-any-return]
    except Exception as error:
        text = " ".join(str(error).split())
        problem = f"{key} '{reference}' does not import: {type(error).__name__}: {text}"
        where = _last_line(error)
        raise error_class(problem, owner=where, next_step="correct the module, or see --traceback") from error


def _last_line(error: BaseException) -> str | None:
    """Return file and line where the error came from."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frames = inspect.getinnerframes(error.__traceback__) if error.__traceback__ else []
    frames = [frame for frame in frames if not frame.filename.startswith("<frozen")]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else None


def _defined(module: ModuleType) -> list[str]:
    """Return the classes and functions that a module defines itself."""
    return sorted(
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__ == module.__name__
    )
