"""The extension module; everything else is in pyproject.toml."""

from setuptools import Extension, setup

import ktls

setup(
    ext_modules=[
        Extension(
            "ktls_chacha._chacha",
            ["src/ktls_chacha/_chacha.c", "src/ktls_chacha/chacha20_poly1305.c"],
            depends=["src/ktls_chacha/chacha20_poly1305.h"],
            include_dirs=[ktls.backends.get_include()],
            extra_compile_args=["-O2"],
            py_limited_api=True,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
