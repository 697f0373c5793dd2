"""The version of what is installed, from its metadata: there is no second copy."""

from importlib import metadata

from ktls.errors import KTLSError


def version() -> str:
    """The installed version; KTLSError where files were copied and nothing was installed."""
    try:
        return metadata.version("ktls")
    except metadata.PackageNotFoundError:
        raise KTLSError(
            "the version is unknown: ktls runs from files that no installer put there; install a"
            " wheel, or a checkout with `pip install PATH`"
        ) from None
