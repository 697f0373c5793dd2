"""A view of the bytes of any buffer that ``socket.send`` takes, for code that cuts them up.

The engine needs none of this: it takes such a buffer as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


def byte_view(data: ReadableBuffer) -> memoryview:
    """The bytes of `data`: where they are, or copied when ``memoryview`` cannot name their items.

    It cannot for what ctypes makes, for NumPy's dates, and for arrays with a dimension of 0.

    Raises TypeError for what is no buffer, BufferError for one that is not C-contiguous.
    """
    try:
        view = memoryview(data)
        if view.c_contiguous:
            return view.cast("B")
    except (TypeError, ValueError):
        pass
    else:
        raise BufferError("the buffer is not C-contiguous; pass bytes(view)")
    try:
        # It asks for the bytes as socket.send does: without shape and format.
        return memoryview(b"".join((data,)))
    except TypeError:
        kind = type(data).__name__
        raise TypeError(f"a bytes-like object is required, not '{kind}'") from None
